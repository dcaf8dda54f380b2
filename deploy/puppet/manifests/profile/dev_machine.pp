# @summary A developer's machine: pull the images with the developer's own credentials, recreate what has a new image
#
# There is no login, and no image is removed: developers log in with `docker login`, and may compare with the image that ran before.
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
