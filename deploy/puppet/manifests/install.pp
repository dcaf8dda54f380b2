# @summary The helper scripts, the executable and its links, the log's directory and rotation
#
# Pulls and containers require only the first two.
#
# @api private
class alm_pull::install {
  $executable = $alm_pull::executable

  contain alm_pull::helpers
  contain alm_pull::executable

  if $alm_pull::manage_links {
    # A link in the place of the old script, which would otherwise still come first in PATH.
    ['docker-pull-with-progress', 'alm-pull', 'alm-status'].each |$name| {
      file { "${alm_pull::bin}/${name}":
        ensure  => link,
        target  => $executable,
        require => Class['alm_pull::executable'],
      }
    }

    # An existing `alm` of another kind is kept.
    file { "${alm_pull::bin}/alm":
      ensure  => link,
      target  => $executable,
      replace => false,
      require => Class['alm_pull::executable'],
    }
  }

  if $alm_pull::manage_log {
    $directory = regsubst($alm_pull::log, '/[^/]+\z', '')
    if $directory == '' {
      fail("alm_pull: the log ${alm_pull::log} has no directory that could be managed: put it into one, or set manage_log => false")
    }

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
