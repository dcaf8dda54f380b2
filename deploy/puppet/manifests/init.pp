# @summary Installs docker-pull-with-progress, and has the defaults of all pulls
#
# The old script at `/usr/local/bin/docker-pull-with-progress` is replaced by a link to the executable, because it would
# otherwise still come first in PATH. Before that, remove the resources that download the script from the catalog.
#
# @param install
#   `package` installs a package of the node's package sources, which has to be there: Debian has no such package; `file` takes the
#   executable from `source`; `none` does not install it.
# @param package_name
#   The package's name.
# @param package_ensure
#   `installed`, `latest`, or a version.
# @param package_source
#   The path of the .deb on the node, if no package source has it.
# @param source
#   Where `install => 'file'` takes the executable from: any source that Puppet's `file` takes (`puppet:///…`, an absolute
#   path, `https://…`), or a hash of them by dpkg's architecture (`amd64`, `arm64`, `armhf`).
# @param checksum_value
#   The executable's SHA-256, or a hash of them as in `source`. A `http` or `https` source needs it.
# @param architecture
#   The architecture of the userland, as dpkg names it.
# @param executable
#   The executable's path; if unset, `docker-pull-with-progress` in `libexec` with `install => 'file'`, else
#   `/usr/bin/docker-pull-with-progress`.
# @param libexec
#   The directory for the scripts of this module.
# @param bin
#   The directory of the links.
# @param manage_links
#   Whether to put links to the executable into `bin`: `docker-pull-with-progress`, `alm-pull`, `alm-status`, and `alm`
#   if there is no `alm` yet.
# @param manage_log
#   Whether to manage the log's directory and its rotation; if unset, `true` with `install => 'file'`, else `false`: the package
#   has its own configuration.
# @param logrotate
#   The path of logrotate's configuration file.
# @param log
#   The path of the log.
# @param host
#   The engine's address, such as `unix:///var/run/docker.sock`; if unset, it is found as docker finds it.
# @param docker_config
#   The directory of docker's `config.json`; if unset, `.docker` in root's home.
# @param token_file
#   A file with the registry's password; if unset, docker's own credentials are used.
# @param token_user
#   The user for this password; if unset, `oauth2accesstoken`, or `_json_key` for a service account's key.
# @param retries
#   The number of further attempts after a failure that may pass.
# @param stall_timeout
#   A pull ends after this number of seconds without progress; 0: never.
# @param timeout
#   Puppet ends a pull after this number of seconds, even if it makes progress; 0: never. An engine with the classic image
#   store discards what an ended pull has downloaded, so that a pull over a slow link would never succeed.
# @param logoutput
#   Whether the progress is written into Puppet's log.
# @param when_unknown
#   What to do if an image is here and the check cannot determine whether it is current, because the registry cannot be
#   reached, has an error or limits pulls: `skip` the pull, which would fail too, or `pull`.
# @param remove_replaced
#   Whether to remove replaced images when nothing uses them and they have no name.
# @param grace
#   A new container must run this number of seconds without a restart before the old one is removed; 0: no trial.
# @param grace_limit
#   A new container with a health check must be healthy within this number of seconds.
# @param state
#   The directory for data that survives a restart: pulled images, rollbacks, the states of containers. `alm status`, the monitor
#   and `alm_pull::agent` read the states of containers in `/var/lib/alm/container`; with another `state` they show none.
# @param run
#   The directory where `docker-pull-with-progress` keeps the states of images until the next boot, in `pull`. The monitor and
#   `alm_pull::agent` read `/run/alm/pull`, so with another `run` they do not show what this module pulls; `alm status` does with
#   `--state RUN/pull`, without the containers.
# @param monitor
#   Whether the first console shows the states of the images, for people in front of the device. It needs systemd, and the
#   defaults of `state` and `run`. No pull and no container depends on it.
# @param site
#   The location of the device, shown by the monitor.
# @param metrics
#   A text file for Prometheus' node_exporter, such as `/var/lib/prometheus/node-exporter/alm.prom`; if unset, none.
#   Each pull and each check writes it anew: an image with `ensure => absent` is in it until the next one of another image.
# @param environment
#   Additional environment of all commands, such as `['NAME=value']`. It is visible in reports: no secrets here.
# @param path
#   The PATH of all commands.
#
# @example From the node's package sources
#   include alm_pull
#
# @example From release files
#   class { 'alm_pull':
#     install        => 'file',
#     source         => {
#       'arm64' => 'https://example.com/docker-pull-with-progress-arm64',
#       'armhf' => 'https://example.com/docker-pull-with-progress-armhf',
#     },
#     checksum_value => {
#       'arm64' => 'f2ca1bb6c7e907d06dafe4687e579fce76b37e4e93b7605022da52e6ccc26fd2',
#       'armhf' => '4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865',
#     },
#   }
class alm_pull (
  Enum['package', 'file', 'none'] $install = 'package',
  String[1] $package_name = 'docker-pull-with-progress',
  String[1] $package_ensure = 'installed',
  Optional[Alm_pull::Path] $package_source = undef,
  Optional[Alm_pull::Byarchitecture] $source = undef,
  Optional[Alm_pull::Byarchitecture] $checksum_value = undef,
  Optional[String[1]] $architecture = $facts['alm_pull_architecture'],
  Alm_pull::Path $libexec = '/usr/local/lib/alm-pull',
  Alm_pull::Path $executable = $install ? {
    'file'  => "${libexec}/docker-pull-with-progress",
    default => '/usr/bin/docker-pull-with-progress',
  },
  Alm_pull::Path $bin = '/usr/local/bin',
  Boolean $manage_links = true,
  Boolean $manage_log = $install == 'file',
  Alm_pull::Path $logrotate = '/etc/logrotate.d/docker-pull-with-progress',
  Alm_pull::Path $log = '/var/log/alm/docker-pull.log',
  Optional[String[1]] $host = undef,
  Optional[Alm_pull::Path] $docker_config = undef,
  Optional[Alm_pull::Path] $token_file = undef,
  Optional[String[1]] $token_user = undef,
  Integer[0] $retries = 3,
  Integer[0] $stall_timeout = 600,
  Integer[0] $timeout = 0,
  Variant[Boolean, Enum['on_failure']] $logoutput = true,
  Enum['pull', 'skip'] $when_unknown = 'skip',
  Boolean $remove_replaced = false,
  Integer[0] $grace = 30,
  Integer[0] $grace_limit = 600,
  Alm_pull::Path $state = '/var/lib/alm',
  Alm_pull::Path $run = '/run/alm',
  Boolean $monitor = false,
  Optional[Pattern[/\A[^"'\\\n$]+\z/]] $site = undef,
  Optional[Alm_pull::Path] $metrics = undef,
  Array[Pattern[/\A[A-Za-z_]\w*=/]] $environment = [],
  Array[Alm_pull::Path] $path = ['/usr/local/bin', '/usr/local/sbin', '/usr/bin', '/usr/sbin', '/bin', '/sbin'],
) {
  contain alm_pull::install

  # Nothing requires it: a display never stops an update.
  if $monitor {
    contain alm_pull::monitor
    Class['alm_pull::install'] -> Class['alm_pull::monitor']
  }

  # In a run with --noop the helper or the executable may not exist yet, which Puppet would report as an error of the check. The
  # second is for helpers that do not use the executable.
  $where_installed = ['/bin/sh', '-c', '[ -x "$0" ] && [ -x "$1" ] && exec "$@"', $executable]
  $where_helper = ['/bin/sh', '-c', '[ -x "$0" ] && exec "$0" "$@"']

  # The environment of every command. Puppet removes HOME; the program and docker find root's home themselves.
  $command_environment = $environment + [
    $host ? { undef => [], default => ["DOCKER_HOST=${host}"] },
    $docker_config ? { undef => [], default => ["DOCKER_CONFIG=${docker_config}"] },
  ].flatten
}
