# @summary What the profiles share: the module, and the flow of a node with the fleet's registry
#
# @param images
#   The images by a name of their own.
# @param references
#   What this node pulls instead of the `image` of some of `images`, by the same names.
# @param settings
#   What else `alm_pull::update` takes.
#
# @api private
define alm_pull::profile (
  Hash[String[1], Alm_pull::Imagespec] $images,
  Hash[String[1], Alm_pull::Reference] $references,
  Hash[String[1], Any] $settings,
) {
  contain alm_pull

  $fleet = {
    'registry'   => 'europe-west1-docker.pkg.dev',
    'token_file' => '/opt/alm/config/gcp-registry-token',
  }

  alm_pull::update { $title:
    images     => $images,
    references => $references,
    *          => $fleet + $settings,
  }
}
