# @summary Pulls one image, and keeps a container on it if one is named
#
# The pull runs unless `docker-pull-with-progress --check` reports that the local image is the registry's, so a run without a
# new image changes nothing. A failed pull is a failed resource, and everything that needs the image is skipped. An image is
# pulled once: declare an `alm_pull::container` for each further container on it.
#
# @param image
#   The image: `[REGISTRY/]NAME[:TAG][@DIGEST]`.
# @param ensure
#   `absent` removes the states of the image's pulls and of its containers, so that `alm status` and the monitor no longer show
#   them. The image and its containers stay: removing a line from Hiera must not remove what runs. The file of `metrics` has the
#   image until the next pull or check of another image; if this was the last one, remove the file.
# @param container
#   The container to keep on the image; if unset, the image is only pulled.
# @param run_args
#   The container's options, as for `docker run`, one element for each word. They are visible in reports and in the
#   process list: pass secrets with `--env-file`.
# @param command
#   The container's command and its arguments; if empty, those of the image.
# @param restart_on
#   Files and directories that the container's program reads: it is recreated if their contents have changed.
# @param grace
#   A new container must run this number of seconds without a restart before the old one is removed; 0: no trial. If unset,
#   as in `alm_pull`.
# @param grace_limit
#   A new container with a health check must be healthy within this number of seconds; if unset, as in `alm_pull`.
# @param remove_replaced
#   Whether to remove replaced images when nothing uses them and they have no name; if unset, as in `alm_pull`.
# @param when_unknown
#   What to do if the image is here and the registry cannot be reached, has an error or limits pulls: `skip` the pull, which
#   would fail too, or `pull`; if unset, as in `alm_pull`.
# @param platform
#   The platform to pull for, such as `linux/arm/v7`; if unset, the engine's.
# @param token_file
#   A file with the registry's password; if unset, as in `alm_pull`.
# @param token_user
#   The user for this password; if unset, as in `alm_pull`.
# @param timeout
#   Puppet ends the pull after this number of seconds; if unset, as in `alm_pull`.
# @param logoutput
#   Whether the progress is written into Puppet's log; if unset, as in `alm_pull`.
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

  # The program needs the option only if the states are not in its default directories.
  $states = $alm_pull::run ? { '/run/alm' => [], default => ['--state', "${alm_pull::run}/pull"] }

  if $ensure == 'absent' {
    if $container {
      fail("alm_pull: ${image} has ensure => absent, so the container ${container} cannot be kept on it: remove one of the two")
    }

    $status = [$alm_pull::executable, '--status', '--ascii'] + $states
    $helper = "${alm_pull::libexec}/image"
    $of = ['--state', $alm_pull::state, $image] + $status
    $where_known = ['/bin/sh', '-c', '! [ -x "$0" ] || ! [ -x "$1" ] || exec "$@"', $alm_pull::executable]

    exec { "docker-forget ${image}":
      command     => [$helper, 'forget'] + $of + ['--forget', $image],
      unless      => [$where_known + [$helper, 'forgotten'] + $of + ['--json', $image]],
      environment => $alm_pull::command_environment,
      path        => $alm_pull::path,
      cwd         => '/',
      logoutput   => on_failure,
      require     => [Class['alm_pull::helpers'], Class['alm_pull::executable']],
    }
  } else {
    $of_container = {
      'run_args' => $run_args, 'command' => $command, 'restart_on' => $restart_on, 'grace' => $grace, 'grace_limit' => $grace_limit,
    }
    $useless = $of_container.filter |$key, $value| { !($value in [undef, []]) }.keys
    unless $useless.empty or $container {
      fail("alm_pull: '${title}' has ${useless.join(', ')} and no container: name the container")
    }

    $password = alm_pull::first($token_file, $alm_pull::token_file)
    $user = alm_pull::first($token_user, $alm_pull::token_user)

    # Pure ASCII, whatever the locale: if Ruby's locale is C, any other byte fails the resource.
    $options = {
      '--metrics'    => $alm_pull::metrics,
      '--platform'   => $platform,
      '--token-file' => $password,
      '--token-user' => $password ? { undef => undef, default => $user },
    }.filter |$option, $value| { $value =~ NotUndef }
    $puller = [$alm_pull::executable, '--ascii', $states, Array($options)].flatten
    $limits = { '--retries' => $alm_pull::retries, '--stall-timeout' => $alm_pull::stall_timeout, '--log' => $alm_pull::log }
    $pull_options = Array($limits).flatten.map |$word| { String($word) }

    if defined(Exec["docker-pull ${image}"]) {
      fail("alm_pull: '${title}': another alm_pull::image pulls ${image}; for a further container declare an alm_pull::container")
    }

    $helper = "${alm_pull::libexec}/image"
    $state = ['--state', $alm_pull::state, '--run', $alm_pull::run]
    $unknown = alm_pull::first($when_unknown, $alm_pull::when_unknown)
    $check = [$helper, 'current'] + $state + ['--when-unknown', $unknown, $image] + $puller + ['--check', $image]
    $remove = alm_pull::first($remove_replaced, $alm_pull::remove_replaced)
    $remove_option = $remove ? { true => ['--remove-replaced'], default => [] }

    # The title is an interface: operators run `journalctl -u puppet -f | grep docker-pull`.
    exec { "docker-pull ${image}":
      command     => [$helper, 'pull'] + $state + $remove_option + [$image] + $puller + $pull_options + [$image],
      unless      => [$alm_pull::where_installed + $check],
      environment => $alm_pull::command_environment,
      path        => $alm_pull::path,
      cwd         => '/',
      timeout     => alm_pull::first($timeout, $alm_pull::timeout),
      logoutput   => alm_pull::first($logoutput, $alm_pull::logoutput),
      require     => [Class['alm_pull::helpers'], Class['alm_pull::executable']],
    }

    # For images that were still used when they were replaced, for example by a container that was removed since.
    if $remove {
      exec { "docker-clean ${image}":
        command     => [$helper, 'clean'] + $state + [$image],
        unless      => [$alm_pull::where_helper + [$helper, 'cleaned'] + $state + [$image]],
        environment => $alm_pull::command_environment,
        path        => $alm_pull::path,
        cwd         => '/',
        logoutput   => true,
        require     => Class['alm_pull::helpers'],
      }
    }

    # A login to the image's registry comes first.
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
