# @summary A developer's machine: pull the images with the developer's own credentials, recreate what has a new image
#
# No login, and no image is removed: who works there logs in with `docker login`, and compares with what ran before.
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
