# @summary The monitor on the first console
#
# The package contains the unit; if the executable is installed as a file, the unit is, too.
#
# @api private
class alm_pull::monitor {
  $options = $alm_pull::site ? { undef => '', default => "--site '${alm_pull::site}'" }

  file { '/etc/default/alm-monitor':
    ensure  => file,
    owner   => 'root',
    group   => 'root',
    mode    => '0644',
    content => "# Managed by Puppet.\nALM_MONITOR_OPTIONS=\"${options}\"\n",
    notify  => Service['alm-monitor'],
  }

  if $alm_pull::install == 'file' {
    file { '/etc/systemd/system/alm-monitor.service':
      ensure  => file,
      owner   => 'root',
      group   => 'root',
      mode    => '0644',
      content => epp('alm_pull/alm-monitor.service.epp', { 'executable' => $alm_pull::executable }),
      notify  => Service['alm-monitor'],
    }
  }

  service { 'alm-monitor':
    ensure => running,
    enable => true,
  }
}
