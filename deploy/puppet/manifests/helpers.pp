# @summary The helper scripts
#
# The only class that `docker-start` requires: it has no resource that needs a package source or a server other than Puppet's.
#
# @api private
class alm_pull::helpers {
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
}
