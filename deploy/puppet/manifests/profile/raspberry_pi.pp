# @summary A Raspberry Pi: log in, pull the init, main app and telemetry images, then recreate what has a new image
#
# Images that have been replaced are removed: an SD card fills with them.
#
# @param images
#   The images by a name of their own, in the order in which they are pulled. Hiera's levels are merged, an image of a
#   more particular one taking the place of the whole image of the same name.
# @param references
#   What this node pulls instead of the `image` of some of `images`, by the same names.
# @param registry
#   The registry to log in to.
# @param token_file
#   The file that holds the registry's password; where unset, docker's own credentials serve.
# @param token_user
#   The user that goes with it; where unset, `oauth2accesstoken`, or `_json_key` for a service account's key.
# @param docker_login
#   Whether docker itself is logged in; else the file goes to the pulls alone.
# @param remove_replaced
#   Whether to remove the image that a container ran before, once it has been recreated.
#
# @example
#   include alm_pull::profile::raspberry_pi
class alm_pull::profile::raspberry_pi (
  Hash[String[1], Alm_pull::Imagespec] $images,
  Hash[String[1], Alm_pull::Reference] $references = {},
  Optional[Alm_pull::Registry] $registry = 'europe-west1-docker.pkg.dev',
  Optional[Alm_pull::Path] $token_file = '/opt/alm/config/gcp-registry-token',
  Optional[String[1]] $token_user = undef,
  Boolean $docker_login = true,
  Boolean $remove_replaced = true,
) {
  contain alm_pull

  alm_pull::update { 'raspberry_pi':
    images          => $images,
    references      => $references,
    registry        => $registry,
    token_file      => $token_file,
    token_user      => $token_user,
    docker_login    => $docker_login,
    remove_replaced => $remove_replaced,
  }
}
