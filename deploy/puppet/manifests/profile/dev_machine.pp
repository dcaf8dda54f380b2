# @summary A developer's machine: pulls the images, then recreates the containers whose image is new
#
# Such a machine has no token file: the pulls use docker's own credentials (`sudo docker login`, or `alm_pull::docker_config`).
# Replaced images are kept, so that a developer can run them again. `settings` overrides all of this.
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
#   include alm_pull::profile::dev_machine
class alm_pull::profile::dev_machine (
  Hash[String[1], Alm_pull::Imagespec] $images,
  Hash[String[1], Alm_pull::Reference] $references = {},
  Hash[String[1], Any] $settings = {},
) {
  alm_pull::profile { 'dev_machine':
    images     => $images,
    references => $references,
    settings   => { 'token_file' => undef } + $settings,
  }
}
