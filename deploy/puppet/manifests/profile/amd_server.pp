# @summary A server: log in, pull the init, main app and telemetry images, then recreate what has a new image
#
# Like `alm_pull::profile::raspberry_pi`, with its own name in Hiera.
#
# @param images
#   The images, each with a name, in the order in which they are pulled. Hiera's levels are merged: an image of a more
#   specific level replaces the whole image of the same name.
# @param references
#   What this node pulls instead of the `image` of some of `images`, by the same names.
# @param settings
#   Other parameters of `alm_pull::update`, if they differ from the above; Hiera's levels are merged.
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
