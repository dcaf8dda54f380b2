# @summary The flow of a node: log in, pull all images, then recreate the containers whose image is new
#
# The profiles use it; it can stand in a profile of your own.
#
# @param images
#   The images by a name of their own, in the order in which they are pulled.
# @param references
#   What to pull instead of the `image` of some of `images`, by the same names.
# @param registry
#   The registry to log in to; where unset, none.
# @param token_file
#   The file that holds the registry's password; where unset, docker's own credentials serve.
# @param token_user
#   The user that goes with it.
# @param docker_login
#   Whether docker itself is logged in, for everybody on the node who uses it; else the file goes to the pulls alone.
# @param remove_replaced
#   Whether to remove what pulls replaced, once nothing uses it and it has no name left. An image of which any entry says
#   otherwise is kept.
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
    fail("alm_pull: references names ${unknown.join(', ')}, which images does not have")
  }
  $wanted = $images.map |$name, $entry| { [$name, $entry + { 'image' => alm_pull::first($references[$name], $entry['image']) }] }

  if $docker_login and $registry and $token_file {
    alm_pull::login { $registry:
      token_file => $token_file,
      token_user => $token_user,
    }
    $token = {}
  } else {
    $token = { 'token_file' => $token_file, 'token_user' => $token_user }
  }

  # One container may stop for a moment only when all that can be fetched has been: pulls first. Each container needs its
  # own image alone, so that an image that cannot be had does not hold up the others. Several may run the same one.
  $pulls = $wanted.map |$pair| { $pair[1].filter |$key, $value| { $key in ['image', 'ensure', 'platform', 'timeout', 'when_unknown'] } }

  $pulls.unique.each |$pull| {
    $kept = $wanted.any |$pair| {
      $pair[1]['image'] == $pull['image'] and !alm_pull::first($pair[1]['remove_replaced'], $remove_replaced)
    }

    alm_pull::image { $pull['image']:
      remove_replaced => !$kept,
      *               => $pull + $token,
    }
  }

  $wanted.each |$pair| {
    $entry = $pair[1]

    # Of an image that is absent, the container is left to whoever removes it.
    if $entry['container'] and $entry['ensure'] != 'absent' {
      $settings = $entry.filter |$key, $value| { $key in ['run_args', 'command', 'restart_on', 'grace', 'grace_limit'] }

      alm_pull::container { $entry['container']:
        image           => $entry['image'],
        remove_replaced => alm_pull::first($entry['remove_replaced'], $remove_replaced),
        *               => $settings,
      }
    }
  }
}
