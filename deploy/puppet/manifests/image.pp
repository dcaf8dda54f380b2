# @summary Pulls one image, and keeps a container on it where one is named
#
# The pull runs where `docker-pull-with-progress --check` does not say that the local image is what the registry has, so
# that a run without news changes nothing. A pull that fails is a failed resource; nothing that needs the image goes on.
# An image is pulled once: further containers on it are `alm_pull::container`s of their own.
#
# @param image
#   The image.
# @param ensure
#   `absent` makes the node forget how pulls of the image went, so that no status, monitor or metrics tell of it any more. The
#   image and its containers stay: what runs is not removed by a line that is taken out of Hiera.
# @param container
#   The container to keep on the image; where unset, the image is pulled and no more.
# @param run_args
#   The container's options, as `docker run` takes them, one element a word. They can be read in reports and in the
#   process list: pass secrets with `--env-file`.
# @param command
#   The container's command and its arguments, where the image's own will not do.
# @param restart_on
#   Files and directories that the container's program reads: it is recreated where their contents have changed.
# @param grace
#   Seconds for which a new container has to run without a restart before the old one is removed; 0 is no proof at all.
#   Where unset, as `alm_pull` says.
# @param grace_limit
#   Seconds after which a container with a health check has to be healthy; where unset, as `alm_pull` says.
# @param remove_replaced
#   Whether to remove what a pull replaced, once nothing uses it and it has no name left; where unset, as `alm_pull` says.
# @param when_unknown
#   What to do where the image is here and the check cannot tell because the registry is away, in trouble or limits pulls:
#   `skip` the pull, which would fail alike, or `pull`; where unset, as `alm_pull` says.
# @param platform
#   Pull for another platform than the engine's.
# @param token_file
#   A file that holds the registry's password; where unset, as `alm_pull` says.
# @param token_user
#   The user that goes with it.
# @param timeout
#   Seconds after which Puppet ends the pull; where unset, as `alm_pull` says.
# @param logoutput
#   Whether the progress goes into Puppet's log; where unset, as `alm_pull` says.
#
# @example An image with its container
#   alm_pull::image { 'app':
#     image     => 'europe-west1-docker.pkg.dev/project/app/app:latest',
#     container => 'app',
#     run_args  => ['--network', 'host', '--restart', 'unless-stopped', '--volume', '/opt/alm/data:/data'],
#   }
define alm_pull::image (
  Alm_pull::Reference $image = $title,
  Enum['present', 'absent'] $ensure = 'present',
  Optional[Alm_pull::Containername] $container = undef,
  Array[String[1]] $run_args = [],
  Array[String] $command = [],
  Array[Alm_pull::Path] $restart_on = [],
  Optional[Integer[0]] $grace = undef,
  Optional[Integer[0]] $grace_limit = undef,
  Optional[Boolean] $remove_replaced = undef,
  Optional[Enum['pull', 'skip']] $when_unknown = undef,
  Optional[String[1]] $platform = undef,
  Optional[Alm_pull::Path] $token_file = undef,
  Optional[String[1]] $token_user = undef,
  Optional[Integer[0]] $timeout = undef,
  Optional[Variant[Boolean, Enum['on_failure']]] $logoutput = undef,
) {
  include alm_pull

  # Where the states are elsewhere than the program has them, it has to be told.
  $states = $alm_pull::run ? { '/run/alm' => [], default => ['--state', "${alm_pull::run}/pull"] }

  if $ensure == 'absent' {
    if $container {
      fail("alm_pull: ${image} is absent, and the container ${container} cannot be kept on it")
    }

    $status = [$alm_pull::executable, '--status', '--ascii'] + $states

    exec { "docker-forget ${image}":
      command     => $status + ['--forget', $image],
      # A container that runs the image has a row of its own, without an id, and is not forgotten here.
      unless      => [['/bin/sh', '-c', '! [ -x "$0" ] || ! "$0" "$@" | grep -q \'"id":"\''] + $status + ['--json', $image]],
      environment => $alm_pull::command_environment,
      path        => $alm_pull::path,
      cwd         => '/',
      logoutput   => on_failure,
      require     => Class['alm_pull'],
    }
  } else {
    $password = alm_pull::first($token_file, $alm_pull::token_file)
    $user = alm_pull::first($token_user, $alm_pull::token_user)

    # Pure ASCII, whatever the locale: any other byte fails the resource where Ruby's locale is C.
    $options = {
      '--metrics'    => $alm_pull::metrics,
      '--platform'   => $platform,
      '--token-file' => $password,
      '--token-user' => $password ? { undef => undef, default => $user },
    }.filter |$option, $value| { $value =~ NotUndef }
    $asking = [$alm_pull::executable, '--ascii', $states, Array($options)].flatten
    $limits = { '--retries' => $alm_pull::retries, '--stall-timeout' => $alm_pull::stall_timeout, '--log' => $alm_pull::log }
    $pulling = Array($limits).flatten.map |$word| { String($word) }

    if defined(Exec["docker-pull ${image}"]) {
      fail("alm_pull: ${image} is pulled already, so not by '${title}' too; a further container on it is an alm_pull::container")
    }

    $helper = "${alm_pull::libexec}/image"
    $state = ['--state', $alm_pull::state, '--run', $alm_pull::run]
    $unknown = ['--when-unknown', alm_pull::first($when_unknown, $alm_pull::when_unknown)]
    $remove = alm_pull::first($remove_replaced, $alm_pull::remove_replaced)
    $removing = $remove ? { true => ['--remove-replaced'], default => [] }

    # `journalctl -u puppet -f | grep docker-pull` finds the progress by this title.
    exec { "docker-pull ${image}":
      command     => [$helper, 'pull'] + $state + $removing + [$image] + $asking + $pulling + [$image],
      unless      => [$alm_pull::where_installed + [$helper, 'current'] + $state + $unknown + [$image] + $asking + ['--check', $image]],
      environment => $alm_pull::command_environment,
      path        => $alm_pull::path,
      cwd         => '/',
      timeout     => alm_pull::first($timeout, $alm_pull::timeout),
      logoutput   => alm_pull::first($logoutput, $alm_pull::logoutput),
      require     => Class['alm_pull'],
    }

    # What was still used when it was replaced, as by a container that somebody else has removed since.
    if $remove {
      exec { "docker-clean ${image}":
        command     => [$helper, 'clean'] + $state + [$image],
        unless      => [$alm_pull::where_installed + [$helper, 'cleaned'] + $state + [$image]],
        environment => $alm_pull::command_environment,
        path        => $alm_pull::path,
        cwd         => '/',
        logoutput   => true,
        require     => Class['alm_pull'],
      }
    }

    # Where the image's registry is logged in to, that comes first.
    $registry = $image ? {
      /\A(localhost|[^\/]*[.:][^\/]*)\// => $1,
      default                            => 'docker.io',
    }
    Exec <| title == "docker-login ${registry}" |> -> Exec["docker-pull ${image}"]

    if $container {
      alm_pull::container { $container:
        image           => $image,
        run_args        => $run_args,
        command         => $command,
        restart_on      => $restart_on,
        grace           => $grace,
        grace_limit     => $grace_limit,
        remove_replaced => $remove_replaced,
      }
    }
  }
}
