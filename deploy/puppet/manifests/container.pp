# @summary Keeps a container on an image that an alm_pull::image pulls
#
# The container is recreated if it does not run or is unhealthy, if it runs another image than the local one of that name, if it was
# created with other arguments, or if what these refer to was replaced or has changed. A failed recreate is repeated in the next run,
# because these are states, not events. The new container must pass a trial before the old one is removed; otherwise the old one runs
# again, and the new one is not tried again in every run. A stopped container is started even if its image cannot be pulled.
#
# @param image
#   The image, as in an `alm_pull::image`.
# @param container
#   The container's name.
# @param run_args
#   Its options, as for `docker run`, one element for each word. Options that cannot work here, such as `--name`, `--rm` and
#   `--cidfile`, fail the catalog; `-d` is ignored. They are visible in reports and in the process list: pass secrets with
#   `--env-file`. The container comes after the containers and `file` resources in the catalog that they name.
# @param command
#   Its command and arguments; if empty, those of the image.
# @param restart_on
#   Files and directories that the container's program reads: it is recreated if their contents have changed.
# @param grace
#   A new container must run this number of seconds without a restart before the old one is removed; 0: no trial. If unset,
#   as in `alm_pull`.
# @param grace_limit
#   A new container with a health check must be healthy within this number of seconds; if unset, as in `alm_pull`.
# @param remove_replaced
#   Whether to remove the image that the container ran before; if unset, as in `alm_pull`.
# @param timeout
#   Puppet ends the recreate after this number of seconds; if unset, 300 more than the longer of `grace` and `grace_limit`.
#
# @example A second container on an image that an alm_pull::image pulls
#   alm_pull::container { 'worker':
#     image    => 'europe-west1-docker.pkg.dev/project/app/app:latest',
#     run_args => ['--network', 'container:app', '--env-file', '/opt/alm/config/app.env'],
#     command  => ['worker', '--queue', 'all'],
#   }
define alm_pull::container (
  Alm_pull::Reference $image,
  Alm_pull::Containername $container = $title,
  Array[String[1]] $run_args = [],
  Array[String] $command = [],
  Array[Alm_pull::Path] $restart_on = [],
  Optional[Integer[0]] $grace = undef,
  Optional[Integer[0]] $grace_limit = undef,
  Optional[Boolean] $remove_replaced = undef,
  Optional[Integer[0]] $timeout = undef,
) {
  include alm_pull

  $parsed = alm_pull::run_arguments($container, $run_args)
  $limit = alm_pull::first($grace_limit, $alm_pull::grace_limit)
  $trial = alm_pull::first($grace, $alm_pull::grace)
  $references = $parsed['refers'] + $restart_on.map |$file| { "file:${file}" }
  $remove = alm_pull::first($remove_replaced, $alm_pull::remove_replaced) ? { true => ['--remove-replaced'], default => [] }

  $options = ['--state', $alm_pull::state, '--image-at', String($parsed['arguments'].length + 1)]
  + $references.unique.map |$item| { ['--refers', $item] }.flatten
  $recreate_options = $options + ['--grace', String($trial), '--grace-limit', String($limit)] + $remove
  $arguments = [$alm_pull::executable, $container, $image] + $parsed['arguments'] + [$image] + $command
  $helper = "${alm_pull::libexec}/container"

  $defaults = {
    environment => $alm_pull::command_environment,
    path        => $alm_pull::path,
    cwd         => '/',
    timeout     => alm_pull::first($timeout, max($limit, $trial) + 300),
    logoutput   => true,
  }

  exec { "docker-recreate ${container}":
    command => [$helper, 'recreate'] + $recreate_options + $arguments,
    unless  => [$alm_pull::where_installed + [$helper, 'current'] + $options + $arguments],
    require => Exec["docker-pull ${image}"],
    *       => $defaults,
  }

  # It depends on nothing that can fail: a container is started from local images even if the registry cannot be reached, or if
  # the wanted version of the executable cannot be installed. It does not use the executable.
  exec { "docker-start ${container}":
    command => [$helper, 'start'] + $recreate_options + $arguments,
    unless  => [$alm_pull::where_helper + [$helper, 'started'] + $options + $arguments],
    require => Class['alm_pull::helpers'],
    *       => $defaults,
  }

  $parsed['containers'].each |$other| {
    Exec <| title == "docker-recreate ${other}" |> -> Exec["docker-recreate ${container}"]
  }
  # It cannot start before the containers whose namespaces it uses.
  $parsed['namespaces'].each |$other| {
    Exec <| title == "docker-start ${other}" |> -> Exec["docker-start ${container}"]
  }
  ($parsed['files'] + $restart_on).unique.each |$file| {
    File <| title == $file or path == $file |> -> Exec["docker-recreate ${container}"]
  }
}
