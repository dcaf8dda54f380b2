# @summary A server: log in, pull the init, main app and telemetry images, then recreate what has a new image
#
# As on a Raspberry Pi; a server of its own kind in Hiera.
#
# @param images
#   The images by a name of their own, in the order in which they are pulled. Hiera's levels are merged, an image of a
#   more particular one taking the place of the whole image of the same name.
# @param references
#   What this node pulls instead of the `image` of some of `images`, by the same names.
# @param settings
#   What else `alm_pull::update` takes, where it is to be other than said above; Hiera's levels are merged.
#
# @example
#   include alm_pull::profile::amd_server
class alm_pull::profile::amd_server (
  Hash[String[1], Alm_pull::Imagespec] $images,
  Hash[String[1], Alm_pull::Reference] $references = {},
  Hash[String[1], Any] $settings = {},
) {
  alm_pull::profile { 'amd_server':
    images     => $images,
    references => $references,
    settings   => { 'docker_login' => true, 'remove_replaced' => true } + $settings,
  }
}
