# @summary Keeps a container on an image that an alm_pull::image pulls
#
# The container is recreated where it does not run, runs another image than the local one of that name, or was created
# with other arguments. Each is a state and no event, so that a recreate that failed is made up for by the next run. The
# new container is created before the old one is stopped, and the old one runs again where the new one cannot be started.
#
# @param image
#   The image, as an `alm_pull::image` has it.
# @param container
#   The container's name.
# @param run_args
#   Its options, as `docker run` takes them, one element a word, without `--name` and `--rm`; a `-d` of its own is left
#   out. They can be read in reports and in the process list:
#   pass secrets with `--env-file`.
# @param command
#   Its command and arguments, where the image's own will not do.
# @param remove_replaced
#   Whether to remove the image that the container ran before; where unset, as `alm_pull` says.
# @param timeout
#   Seconds after which Puppet ends the recreate.
define alm_pull::container (
  Alm_pull::Reference $image,
  Alm_pull::Containername $container = $title,
  Array[String[1]] $run_args = [],
  Array[String] $command = [],
  Optional[Boolean] $remove_replaced = undef,
  Integer[0] $timeout = 300,
) {
  include alm_pull

  $run_args.each |$argument| {
    if $argument =~ /\A--(name|rm)(=.*)?\z/ {
      fail("alm_pull: ${argument} is not for the container ${container}: it is named and removed by this module")
    }
  }

  # What `docker create` does not know, since nobody is there for whom it could be meant.
  $created_with = $run_args.filter |$argument| { !($argument in ['-d', '--detach', '--detach=true']) }
  $created_with.each |$argument| {
    if $argument =~ /\A(--(detach|detach-keys|sig-proxy)(=.*)?|-[itP]*d[ditP]*)\z/ {
      fail("alm_pull: ${argument} is not for the container ${container}: it is always detached; write -dit as -it")
    }
  }
  $arguments = [$alm_pull::executable, $container, $image] + $created_with + [$image] + $command
  $helper = "${alm_pull::libexec}/container"
  $mode = alm_pull::first($remove_replaced, $alm_pull::remove_replaced) ? { true => 'recreate-and-remove', default => 'recreate' }

  exec { "docker-recreate ${container}":
    command     => [$helper, $mode] + $arguments,
    unless      => [$alm_pull::where_installed + [$helper, 'current'] + $arguments],
    environment => $alm_pull::command_environment,
    path        => $alm_pull::path,
    cwd         => '/',
    timeout     => $timeout,
    logoutput   => true,
    require     => Exec["docker-pull ${image}"],
  }
}
