# @summary The common part of the profiles: the module, and alm_pull::update with the fleet's registry and token file
#
# @param images
#   The images, each with a name.
# @param references
#   What this node pulls instead of the `image` of some of `images`, by the same names.
# @param settings
#   Other parameters of `alm_pull::update`; they override the fleet's registry and token file.
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
