# @summary The broker of a fleet, and its page
#
# mosquitto, with the configuration that `alm-fleet-configure` of the package `alm-fleet` makes, and nginx with the page. The
# broker's own host certificate of Puppet, and Puppet's list of revoked ones, serve where nothing else is said. Viewers and their
# passwords are added by `mosquitto_passwd /etc/mosquitto/alm-fleet/viewers.passwd NAME` and `systemctl reload mosquitto`.
#
# @param topic
#   What all topics begin with.
# @param devices
#   How many devices there may be.
# @param device_port
#   Where devices with certificates come; 0 is nowhere.
# @param password_port
#   Where devices with passwords come; 0 is nowhere.
# @param viewer_port
#   Where mosquitto listens for viewers (WebSocket), which nginx passes on to; 0 is nowhere.
# @param page_port
#   Where nginx serves the page (https); 0 leaves that to somebody else, and nginx alone. Needs `viewer_port`.
# @param page_cert
#   The page's certificate, with those between it and its authority; where unset, the broker's. Browsers do not know Puppet's
#   authority and warn of it.
# @param page_key
#   Its key.
# @param ssldir
#   Where Puppet keeps its certificates; where unset, as Puppet on the node says.
# @param cert
#   The broker's certificate; where unset, Puppet's own. One with an EC key costs a quarter of the time at each connection.
# @param key
#   Its key; where unset, Puppet's own.
# @param ca
#   The authority of the devices' certificates; where unset, Puppet's.
# @param crl
#   Its list of revoked certificates; where unset, Puppet's.
# @param package_ensure
#   `installed`, `latest`, or a version.
#
# @example
#   include alm_pull::fleet
class alm_pull::fleet (
  Pattern[/\A[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*\z/] $topic = 'fleet',
  Integer[1, 1000000] $devices = 10000,
  Integer[0, 65535] $device_port = 8883,
  Integer[0, 65535] $password_port = 0,
  Integer[0, 65535] $viewer_port = 8443,
  Integer[0, 65535] $page_port = $viewer_port ? { 0 => 0, default => 443 },
  Optional[Alm_pull::Path] $page_cert = undef,
  Optional[Alm_pull::Path] $page_key = undef,
  Alm_pull::Path $ssldir = alm_pull::first($facts['alm_pull_ssldir'], '/etc/puppetlabs/puppet/ssl'),
  Optional[Alm_pull::Path] $cert = undef,
  Optional[Alm_pull::Path] $key = undef,
  Optional[Alm_pull::Path] $ca = undef,
  Optional[Alm_pull::Path] $crl = undef,
  String[1] $package_ensure = 'installed',
) {
  if ($cert == undef) != ($key == undef) {
    fail('alm_pull::fleet: cert and key belong together')
  }
  if ($page_cert == undef) != ($page_key == undef) {
    fail('alm_pull::fleet: page_cert and page_key belong together')
  }
  if $page_port > 0 and $viewer_port == 0 {
    fail('alm_pull::fleet: a page_port needs a viewer_port, from where the page has its news')
  }

  $certname = $trusted['certname']
  $etc = '/etc/mosquitto/alm-fleet'

  package { 'mosquitto':
    ensure => installed,
  }

  package { 'alm-fleet':
    ensure  => $package_ensure,
    require => Package['mosquitto'],
  }

  file { $etc:
    ensure  => directory,
    owner   => 'root',
    group   => 'root',
    mode    => '0755',
    require => Package['mosquitto'],
  }

  # mosquitto reads them as its own user, which may not look into Puppet's directory.
  $files = {
    'broker.pem' => alm_pull::first($cert, "${ssldir}/certs/${certname}.pem"),
    'broker.key' => alm_pull::first($key, "${ssldir}/private_keys/${certname}.pem"),
    'ca.pem'     => alm_pull::first($ca, "${ssldir}/certs/ca.pem"),
    'crl.pem'    => alm_pull::first($crl, "${ssldir}/crl.pem"),
  }
  $files.each |$name, $path| {
    file { "${etc}/${name}":
      ensure    => file,
      owner     => 'mosquitto',
      group     => 'root',
      mode      => '0400',
      source    => "file://${path}",
      links     => 'follow',
      show_diff => false,
      backup    => false,
      notify    => Service['mosquitto'],
    }
  }

  file { '/etc/default/alm-fleet':
    ensure  => file,
    owner   => 'root',
    group   => 'root',
    mode    => '0644',
    content => epp('alm_pull/alm-fleet.default.epp', {
        'topic'         => $topic,
        'devices'       => $devices,
        'device_port'   => $device_port,
        'password_port' => $password_port,
        'viewer_port'   => $viewer_port,
        'etc'           => $etc,
    }),
    require => Package['alm-fleet'],
  }

  # Also where somebody has changed what it makes.
  exec { 'alm-fleet-configure':
    command => 'alm-fleet-configure',
    unless  => 'alm-fleet-configure --check',
    path    => ['/bin', '/usr/bin', '/sbin', '/usr/sbin'],
    require => [Package['alm-fleet'], File['/etc/default/alm-fleet', $etc]],
    notify  => Service['mosquitto'],
  }

  service { 'mosquitto':
    ensure  => running,
    enable  => true,
    require => Exec['alm-fleet-configure'],
  }

  if $page_port > 0 {
    package { 'nginx':
      ensure => installed,
    }

    file { '/etc/nginx/conf.d/alm-fleet.conf':
      ensure  => file,
      owner   => 'root',
      group   => 'root',
      mode    => '0644',
      content => epp('alm_pull/alm-fleet.nginx.epp', {
          'page_port'   => $page_port,
          'viewer_port' => $viewer_port,
          'topic'       => $topic,
          'cert'        => alm_pull::first($page_cert, "${etc}/broker.pem"),
          'key'         => alm_pull::first($page_key, "${etc}/broker.key"),
      }),
      require => [Package['nginx'], File["${etc}/broker.pem", "${etc}/broker.key"]],
      notify  => Service['nginx'],
    }

    # nginx has read them, and goes on with what it has read.
    if $page_cert == undef {
      File["${etc}/broker.pem", "${etc}/broker.key"] ~> Service['nginx']
    }

    # Reloaded: pages of other sites and viewers that are connected are not cut off.
    service { 'nginx':
      ensure  => running,
      enable  => true,
      restart => '/bin/systemctl reload nginx.service',
    }
  }
}
