# @summary A server: logs in, pulls the images, then recreates the containers whose image is new
#
# The same as `alm_pull::profile::raspberry_pi`, with its own keys in Hiera.
#
# @param images
#   The images, each with a name, in the order in which they are pulled. The levels of Hiera are merged by these names: the
#   entry of the more specific level replaces the whole entry of the other.
# @param references
#   What this node pulls instead of the `image` of some of `images`, by the same names. The levels of Hiera are merged.
# @param settings
#   Other parameters of `alm_pull::update`: `registry`, `token_file`, `token_user`, `docker_login`, `remove_replaced`. The levels of
#   Hiera are merged.
#
# @example With the images in Hiera
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
