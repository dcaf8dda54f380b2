# @summary The broker of a fleet, and its page
#
# Sets up mosquitto with the configuration that `alm-fleet-configure` of the package `alm-fleet` writes, and nginx with the page.
# By default the broker uses Puppet's certificate of this host and Puppet's list of revoked certificates. Add the people who may
# open the page with `mosquitto_passwd /etc/mosquitto/alm-fleet/viewers.passwd NAME` and `systemctl reload mosquitto`.
#
# @param topic
#   The beginning of all topics; the same as `topic` of `alm_pull::agent`.
# @param devices
#   The number of devices to expect: it determines how many messages mosquitto queues for a viewer.
# @param device_port
#   The port for devices with certificates; 0: none.
# @param password_port
#   The port for devices with passwords; 0: none.
# @param viewer_port
#   The port where mosquitto listens for viewers (WebSocket), to which nginx forwards them; 0: none.
# @param page_port
#   The port where nginx serves the page (HTTPS); 0: this class does not manage nginx. It needs a `viewer_port`. If unset, 443, or
#   0 with `viewer_port => 0`.
# @param page_cert
#   The page's certificate, with its intermediate certificates; if unset, the broker's. Browsers do not know Puppet's CA and
#   warn of its certificates.
# @param page_key
#   The key of `page_cert`.
# @param ssldir
#   Where Puppet keeps its certificates; if unset, the node's Puppet is asked.
# @param cert
#   The broker's certificate; if unset, Puppet's host certificate. With an EC key each connection takes a quarter of the time
#   of an RSA key.
# @param key
#   The key of `cert`; if unset, the key of Puppet's host certificate.
# @param ca
#   The CA of the devices' certificates; if unset, Puppet's.
# @param crl
#   The list of certificates that this CA has revoked; if unset, Puppet's.
# @param package_ensure
#   `installed`, `latest`, or a version.
#
# @example With Puppet's certificates
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
    fail('alm_pull::fleet: a page_port needs a viewer_port: the page gets the states from there')
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

  # mosquitto reads them as its own user, which has no access to Puppet's directory.
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

  # --check compares the files themselves, so changes by hand are reverted.
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

    # nginx uses the certificate that it read at its start until it is reloaded.
    if $page_cert == undef {
      File["${etc}/broker.pem", "${etc}/broker.key"] ~> Service['nginx']
    }

    # A restart would interrupt the other sites and the connected viewers.
    service { 'nginx':
      ensure  => running,
      enable  => true,
      restart => '/bin/systemctl reload nginx.service',
    }
  }
}
