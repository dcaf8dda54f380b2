# @summary Installs docker-pull-with-progress, and holds what all pulls have in common
#
# The old script at `/usr/local/bin/docker-pull-with-progress` is replaced by a link to the executable, since it would
# otherwise keep winning in PATH. Take the resources that download that script out of the catalog first.
#
# @param install
#   `package` installs a package of the node's package sources; `file` takes the executable from `source`; `none` leaves
#   installing to somebody else.
# @param package_name
#   The package's name.
# @param package_ensure
#   `installed`, `latest`, or a version.
# @param package_source
#   The .deb on the node, where no package source has it.
# @param source
#   Where `install => 'file'` takes the executable from: any source that Puppet's `file` takes (`puppet:///…`, an absolute
#   path, `https://…`), or a hash of them by dpkg's architecture (`amd64`, `arm64`, `armhf`).
# @param checksum_value
#   The executable's SHA-256, or a hash of them as in `source`. A `http` or `https` source needs it.
# @param architecture
#   The userland's architecture in dpkg's words.
# @param executable
#   The executable's path.
# @param libexec
#   The directory for what this module puts onto the node.
# @param bin
#   The directory of the links.
# @param manage_links
#   Whether to put links to the executable into `bin`: `docker-pull-with-progress`, `alm-pull`, `alm-status`, and `alm`
#   where there is no `alm`.
# @param manage_log
#   Whether to manage the log's directory and its rotation; the package brings its own.
# @param logrotate
#   The file for logrotate.
# @param log
#   The log.
# @param host
#   The engine's address, as `unix:///var/run/docker.sock`; where unset, docker's own way of finding it.
# @param docker_config
#   The directory of docker's `config.json`; where unset, `.docker` in root's home.
# @param token_file
#   A file that holds the registry's password; where unset, docker's own credentials serve.
# @param token_user
#   The user that goes with it; where unset, `oauth2accesstoken`, or `_json_key` for a service account's key.
# @param retries
#   Tries after a failure that may pass.
# @param stall_timeout
#   Seconds without any movement after which a pull gives up; 0 is never.
# @param timeout
#   Seconds after which Puppet ends a pull, however well it moves; 0 is never. An engine with the classic image store
#   throws away what a pull that was ended has fetched, so that a slow link would never get through.
# @param logoutput
#   Whether the progress goes into Puppet's own log.
# @param when_unknown
#   What to do where an image is here and the check cannot tell whether it is the newest, because the registry is away, in
#   trouble or limits pulls: `skip` the pull, which would fail alike, or `pull`.
# @param remove_replaced
#   Whether to remove what a pull replaced, once nothing uses it and it has no name left.
# @param grace
#   Seconds for which a new container has to run without a restart before the old one is removed; 0 is no proof at all.
# @param grace_limit
#   Seconds after which a container with a health check has to be healthy.
# @param state
#   The directory for what is kept across runs and starts: what was pulled, what was rolled back, how containers stand.
# @param run
#   The directory where `docker-pull-with-progress` keeps the states of images until the next start.
# @param monitor
#   Whether the first console shows how the images stand, for who stands before the device.
# @param site
#   Where the device stands, for the monitor.
# @param metrics
#   A text file for Prometheus' node_exporter, as `/var/lib/prometheus/node-exporter/alm.prom`; where unset, none.
# @param environment
#   More environment for all commands, as `['NAME=value']`. It can be read in reports: no secrets here.
# @param path
#   PATH of all commands.
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

  if $monitor {
    contain alm_pull::monitor
    Class['alm_pull::install'] -> Class['alm_pull::monitor']
  }

  # In a first run under --noop the executable is not there yet; Puppet would call that an error of the check.
  $where_installed = ['/bin/sh', '-c', '[ -x "$0" ] && exec "$0" "$@"']

  # What every command gets. Puppet has taken HOME away: the tool and docker find root's home by themselves.
  $command_environment = $environment + [
    $host ? { undef => [], default => ["DOCKER_HOST=${host}"] },
    $docker_config ? { undef => [], default => ["DOCKER_CONFIG=${docker_config}"] },
  ].flatten
}
