# @summary The service that sends the states of this device's images to a broker, and notices to people
#
# Puppet's own host certificate is the device's identity: only root can read the key, systemd passes a copy of it to
# the service, and a renewed certificate restarts the service. It reads the states in the directories that are the defaults of
# `alm_pull`'s `run` and `state`; it cannot be given others here.
#
# @param broker
#   The broker, such as `mqtts://broker.example.com:8883`; if unset, only notices are sent.
# @param notify_urls
#   Who gets notices: Slack webhooks, `https://ntfy.sh/TOPIC`, other addresses of http(s) for Apprise's JSON, `mailto:NAME@HOST`.
#   They are secrets: they are in a file that only root can read, and the service gets a copy.
# @param setuid_mailer
#   Whether `/usr/sbin/sendmail` is setuid or setgid, as exim4's and postfix's are, and the unit is relaxed for it.
# @param site
#   The location of the device.
# @param topic
#   The beginning of all topics.
# @param device
#   The device's name in topics; if unset, the certificate's common name.
# @param mqtt
#   The version of MQTT.
# @param ssldir
#   Where Puppet keeps its certificates; if unset, the node's Puppet is asked.
# @param ca
#   The CA of the broker's certificate; if unset, Puppet's.
# @param cert
#   The device's certificate; if unset, Puppet's host certificate.
# @param key
#   The key of this certificate; if unset, that of Puppet's host certificate.
# @param user
#   The device's name at a broker that requires a login instead of a certificate; with `password_file`.
# @param password_file
#   The file on the device with its password.
# @param package_ensure
#   `installed`, `latest`, or a version.
#
# @example A device of a fleet
#   class { 'alm_pull::agent':
#     broker => 'mqtts://broker.example.com:8883',
#     site   => 'Berlin',
#   }
#
# @example Only notices, for a few devices
#   class { 'alm_pull::agent':
#     notify_urls => Sensitive(['https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXX']),
#   }
class alm_pull::agent (
  Optional[Pattern[/\Amqtts:\/\/[A-Za-z0-9.:\[\]-]+\z/]] $broker = undef,
  Optional[Sensitive[Array[Pattern[/\A(?i:https?|ntfys?|mailto):\S+\z/], 1, 16]]] $notify_urls = undef,
  Boolean $setuid_mailer = false,
  Optional[Pattern[/\A[^'"\\$%\n]+\z/]] $site = undef,
  Pattern[/\A[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*\z/] $topic = 'fleet',
  Optional[Pattern[/\A[A-Za-z0-9._-]+\z/]] $device = undef,
  Enum['5', '3.1.1'] $mqtt = '5',
  Alm_pull::Path $ssldir = alm_pull::first($facts['alm_pull_ssldir'], '/etc/puppetlabs/puppet/ssl'),
  Optional[Alm_pull::Path] $ca = undef,
  Optional[Alm_pull::Path] $cert = undef,
  Optional[Alm_pull::Path] $key = undef,
  Optional[Pattern[/\A[A-Za-z0-9._-]+\z/]] $user = undef,
  Optional[Alm_pull::Path] $password_file = undef,
  String[1] $package_ensure = 'installed',
) {
  if ($user == undef) != ($password_file == undef) {
    fail('alm_pull::agent: user and password_file belong together')
  }
  if ($cert == undef) != ($key == undef) {
    fail('alm_pull::agent: cert and key belong together')
  }

  if $broker == undef and $notify_urls == undef {
    fail('alm_pull::agent: neither broker nor notify_urls is given')
  }
  # The content of an empty Sensitive has no type that could be checked.
  if $notify_urls and $notify_urls.unwrap.empty {
    fail('alm_pull::agent: notify_urls has no address')
  }

  $certname = $trusted['certname']
  $notify_file = '/etc/alm/notify'
  $authority = { 'ca' => alm_pull::first($ca, "${ssldir}/certs/ca.pem") }
  $identity = $user ? {
    undef   => $authority + {
      'cert' => alm_pull::first($cert, "${ssldir}/certs/${certname}.pem"),
      'key'  => alm_pull::first($key, "${ssldir}/private_keys/${certname}.pem"),
    },
    default => $authority + { 'password' => $password_file },
  }
  $broker_credentials = $broker ? { undef => {}, default => $identity }
  $notify_credentials = $notify_urls ? { undef => {}, default => { 'notify' => $notify_file } }
  $credentials = $broker_credentials + $notify_credentials
  $mailer_ensure = $setuid_mailer ? { true => 'link', default => 'absent' }
  # If only notices are sent, there is no certificate with the name of the device.
  $named = $broker ? { undef => alm_pull::first($device, $certname), default => $device }

  if $notify_urls {
    file { '/etc/alm':
      ensure => directory,
      owner  => 'root',
      group  => 'root',
      mode   => '0755',
    }

    file { $notify_file:
      ensure    => file,
      owner     => 'root',
      group     => 'root',
      mode      => '0600',
      content   => Sensitive("${join($notify_urls.unwrap, "\n")}\n"),
      show_diff => false,
      backup    => false,
      before    => Service['alm-agent'],
    }
  } else {
    file { $notify_file:
      ensure => absent,
      backup => false,
    }
  }

  file { '/etc/systemd/system/alm-agent.service.d/mailer.conf':
    ensure => $mailer_ensure,
    target => '/usr/share/doc/alm-agent/examples/mailer.conf',
    notify => [Exec['alm-agent: read the unit'], Service['alm-agent']],
  }

  package { 'alm-agent':
    ensure => $package_ensure,
  }

  file { '/etc/default/alm-agent':
    ensure  => file,
    owner   => 'root',
    group   => 'root',
    mode    => '0644',
    content => epp('alm_pull/alm-agent.default.epp', {
        'broker' => $broker,
        'site'   => $site,
        'topic'  => $topic,
        'device' => $named,
        'mqtt'   => $mqtt,
        'user'   => $user,
    }),
    notify  => Service['alm-agent'],
  }

  file { '/etc/systemd/system/alm-agent.service.d':
    ensure => directory,
    owner  => 'root',
    group  => 'root',
    mode   => '0755',
  }

  file { '/etc/systemd/system/alm-agent.service.d/credentials.conf':
    ensure  => file,
    owner   => 'root',
    group   => 'root',
    mode    => '0644',
    content => epp('alm_pull/alm-agent.credentials.epp', { 'credentials' => $credentials }),
    notify  => [Exec['alm-agent: read the unit'], Service['alm-agent']],
  }

  exec { 'alm-agent: read the unit':
    command     => 'systemctl daemon-reload',
    path        => ['/bin', '/usr/bin'],
    onlyif      => 'test -d /run/systemd/system',
    refreshonly => true,
    before      => Service['alm-agent'],
  }

  service { 'alm-agent':
    ensure  => running,
    enable  => true,
    require => Package['alm-agent'],
  }

  # systemd passes copies to the service: it must be restarted to get the new content of a file.
  $credentials.each |$name, $path| {
    exec { "alm-agent: ${name} was renewed":
      command => 'systemctl restart alm-agent.service',
      path    => ['/bin', '/usr/bin'],
      onlyif  => "test -e /run/credentials/alm-agent.service/${name}",
      unless  => "cmp -s '${path}' /run/credentials/alm-agent.service/${name}",
      require => Service['alm-agent'],
    }
  }
}
