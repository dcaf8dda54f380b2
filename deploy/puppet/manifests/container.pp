# @summary Keeps a container on an image that an alm_pull::image pulls
#
# The container is recreated where it does not run well, runs another image than the local one of that name, or was created
# with other arguments, or with the same that refer to something else by now. Each is a state and no event, so that a
# recreate that failed is made up for by the next run. The new container has to prove itself before the old one is removed;
# else the old one returns, and what was no good is not tried in every run. One that has stopped is started also where its
# image could not be pulled.
#
# @param image
#   The image, as an `alm_pull::image` has it.
# @param container
#   The container's name.
# @param run_args
#   Its options, as `docker run` takes them, one element a word, without those that cannot work here, as `--name`, `--rm`
#   and `--cidfile`; a `-d` of its own is left out. They can be read in reports and in the process list: pass secrets with
#   `--env-file`. Containers and files that they name come first, where the catalog has them.
# @param command
#   Its command and arguments, where the image's own will not do.
# @param restart_on
#   Files and directories that the container's program reads: it is recreated where their contents have changed.
# @param grace
#   Seconds for which a new container has to run without a restart before the old one is removed; 0 is no proof at all.
#   Where unset, as `alm_pull` says.
# @param grace_limit
#   Seconds after which a container with a health check has to be healthy; where unset, as `alm_pull` says.
# @param remove_replaced
#   Whether to remove the image that the container ran before; where unset, as `alm_pull` says.
# @param timeout
#   Seconds after which Puppet ends the recreate; where unset, `grace_limit` and 300.
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
  $proof = alm_pull::first($grace, $alm_pull::grace)
  $refers = $parsed['refers'] + $restart_on.map |$file| { "file:${file}" }
  $remove = alm_pull::first($remove_replaced, $alm_pull::remove_replaced) ? { true => ['--remove-replaced'], default => [] }

  $options = ['--state', $alm_pull::state, '--image-at', String($parsed['arguments'].length + 1)]
  + $refers.unique.map |$item| { ['--refers', $item] }.flatten
  $making = $options + ['--grace', String($proof), '--grace-limit', String($limit)] + $remove
  $arguments = [$alm_pull::executable, $container, $image] + $parsed['arguments'] + [$image] + $command
  $helper = "${alm_pull::libexec}/container"

  $defaults = {
    environment => $alm_pull::command_environment,
    path        => $alm_pull::path,
    cwd         => '/',
    timeout     => alm_pull::first($timeout, max($limit, $proof) + 300),
    logoutput   => true,
  }

  exec { "docker-recreate ${container}":
    command => [$helper, 'recreate'] + $making + $arguments,
    unless  => [$alm_pull::where_installed + [$helper, 'current'] + $options + $arguments],
    require => Exec["docker-pull ${image}"],
    *       => $defaults,
  }

  # It waits for nothing that can fail: a registry that is away keeps no container from what is here.
  exec { "docker-start ${container}":
    command => [$helper, 'start'] + $making + $arguments,
    unless  => [$alm_pull::where_installed + [$helper, 'started'] + $options + $arguments],
    require => Class['alm_pull'],
    *       => $defaults,
  }

  $parsed['containers'].each |$other| {
    Exec <| title == "docker-recreate ${other}" |> -> Exec["docker-recreate ${container}"]
  }
  # Without those it cannot start.
  $parsed['namespaces'].each |$other| {
    Exec <| title == "docker-start ${other}" |> -> Exec["docker-start ${container}"]
  }
  ($parsed['files'] + $restart_on).unique.each |$file| {
    File <| title == $file or path == $file |> -> Exec["docker-recreate ${container}"]
  }
}
