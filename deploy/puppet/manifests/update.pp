# @summary The sequence on a node: log in, pull all images, then recreate the containers whose image is new
#
# The profiles use it; you can use it in your own profile.
#
# @param images
#   The images, each with a name, in the order in which they are pulled.
# @param references
#   What to pull instead of the `image` of some of `images`, by the same names.
# @param registry
#   The registry to log in to; if unset, none.
# @param token_file
#   The file with the registry's password; if unset, docker's own credentials are used.
# @param token_user
#   The user for this password.
# @param docker_login
#   Whether docker itself is logged in, for all its users on the node; otherwise only the pulls get the file.
# @param remove_replaced
#   Whether to remove replaced images when nothing uses them and they have no name. An image is kept if any of its entries
#   says so.
#
# @example An image of one's own
#   alm_pull::update { 'kiosk':
#     images => { 'kiosk' => { 'image' => 'registry.example.com/kiosk:stable', 'container' => 'kiosk' } },
#   }
define alm_pull::update (
  Hash[String[1], Alm_pull::Imagespec] $images,
  Hash[String[1], Alm_pull::Reference] $references = {},
  Optional[Alm_pull::Registry] $registry = undef,
  Optional[Alm_pull::Path] $token_file = undef,
  Optional[String[1]] $token_user = undef,
  Boolean $docker_login = false,
  Boolean $remove_replaced = false,
) {
  include alm_pull

  $unknown = $references.keys - $images.keys
  unless $unknown.empty {
    fail("alm_pull: references names ${unknown.join(', ')}, which are not in images")
  }
  $wanted = $images.map |$name, $entry| {
    [$name, { 'ensure' => 'present' } + $entry + { 'image' => alm_pull::first($references[$name], $entry['image']) }]
  }

  if $docker_login and $registry and $token_file {
    alm_pull::login { $registry:
      token_file => $token_file,
      token_user => $token_user,
    }
    $token = {}
  } else {
    $token = { 'token_file' => $token_file, 'token_user' => $token_user }
  }

  # Pulls come first: a container is stopped only after everything is downloaded. Each container needs only its own image, so
  # an image that cannot be pulled does not delay the others. Several containers may run the same image.
  $of_pull = ['ensure', 'platform', 'timeout', 'when_unknown']
  $pulls = $wanted.map |$pair| { $pair[1].filter |$key, $value| { $key in (['image'] + $of_pull) } }

  # Names are compared as elements, because `==` ignores case.
  $wanted.each |$index, $pair| {
    $first = $wanted[0, $index].filter |$other| { [$other[1]['image'], $pair[1]['image']].unique.length == 1 }[0]
    if $first {
      $different = $of_pull.filter |$key| { [$first[1][$key], $pair[1][$key]].unique.length > 1 }
      unless $different.empty {
        $what = "differ in ${different.join(', ')}, and both are the image ${pair[1]['image']}, which is pulled once"
        fail("alm_pull: the entries ${first[0]} and ${pair[0]} of images ${what}: give both the same")
      }
    }
  }

  $pulls.unique.each |$pull| {
    $kept = $wanted.any |$pair| {
      $pair[1]['image'] == $pull['image'] and !alm_pull::first($pair[1]['remove_replaced'], $remove_replaced)
    }

    alm_pull::image { $pull['image']:
      remove_replaced => !$kept,
      *               => $pull + $token,
    }
  }

  $of_container = ['run_args', 'command', 'restart_on', 'grace', 'grace_limit']
  $wanted.each |$pair| {
    $entry = $pair[1]
    $useless = $of_container.filter |$key| { $key in $entry }
    unless $useless.empty or $entry['container'] or $entry['ensure'] == 'absent' {
      fail("alm_pull: the entry ${pair[0]} of images has ${useless.join(', ')} and no container: name the container")
    }

    # The container of an absent image is not removed here.
    if $entry['container'] and $entry['ensure'] != 'absent' {
      $settings = $entry.filter |$key, $value| { $key in $of_container }

      alm_pull::container { $entry['container']:
        image           => $entry['image'],
        remove_replaced => alm_pull::first($entry['remove_replaced'], $remove_replaced),
        *               => $settings,
      }
    }
  }
}
