# @summary The executable and its links, the helper scripts, the log's directory and rotation
#
# @api private
class alm_pull::install {
  $executable = $alm_pull::executable

  file { $alm_pull::libexec:
    ensure => directory,
    owner  => 'root',
    group  => 'root',
    mode   => '0755',
  }

  ['container', 'image', 'login'].each |$helper| {
    file { "${alm_pull::libexec}/${helper}":
      ensure => file,
      owner  => 'root',
      group  => 'root',
      mode   => '0755',
      source => "puppet:///modules/alm_pull/${helper}.sh",
    }
  }

  # The parts that these helpers include.
  ['common', 'images', 'journal', 'references', 'replace'].each |$part| {
    file { "${alm_pull::libexec}/${part}.sh":
      ensure => file,
      owner  => 'root',
      group  => 'root',
      mode   => '0644',
      source => "puppet:///modules/alm_pull/${part}.sh",
    }
  }

  case $alm_pull::install {
    'package': {
      $provider = $alm_pull::package_source ? { undef => undef, default => 'dpkg' }

      package { $alm_pull::package_name:
        ensure   => $alm_pull::package_ensure,
        provider => $provider,
        source   => $alm_pull::package_source,
      }

      $installed = Package[$alm_pull::package_name]
    }
    'file': {
      $source = alm_pull::by_architecture('source', $alm_pull::source)
      $sum = alm_pull::by_architecture('checksum_value', $alm_pull::checksum_value)

      if $source == undef {
        fail("alm_pull: install => 'file' needs a source, such as 'puppet:///modules/site/docker-pull-with-progress'")
      }
      if $source =~ /\Ahttps?:/ and $sum == undef {
        fail("alm_pull: the source ${source} needs a checksum_value: the SHA-256 of the executable")
      }

      file { $executable:
        ensure         => file,
        owner          => 'root',
        group          => 'root',
        mode           => '0755',
        source         => $source,
        checksum       => 'sha256',
        checksum_value => $sum,
      }

      $installed = File[$executable]
    }
    default: {
      $installed = undef
    }
  }

  if $alm_pull::manage_links {
    # A link in the place of the old script, which would otherwise still come first in PATH.
    ['docker-pull-with-progress', 'alm-pull', 'alm-status'].each |$name| {
      file { "${alm_pull::bin}/${name}":
        ensure  => link,
        target  => $executable,
        require => $installed,
      }
    }

    # An existing `alm` of another kind is kept.
    file { "${alm_pull::bin}/alm":
      ensure  => link,
      target  => $executable,
      replace => false,
      require => $installed,
    }
  }

  if $alm_pull::manage_log {
    $directory = regsubst($alm_pull::log, '/[^/]+\z', '')

    # Readable for everyone: customers follow it with `alm pull -f`.
    file { $directory:
      ensure => directory,
      owner  => 'root',
      group  => 'root',
      mode   => '0755',
    }

    file { $alm_pull::logrotate:
      ensure  => file,
      owner   => 'root',
      group   => 'root',
      mode    => '0644',
      content => epp('alm_pull/logrotate.epp', { 'log' => $alm_pull::log }),
    }
  }
}
