# @summary The executable
#
# @api private
class alm_pull::executable {
  case $alm_pull::install {
    'package': {
      $provider = $alm_pull::package_source ? { undef => undef, default => 'dpkg' }

      package { $alm_pull::package_name:
        ensure   => $alm_pull::package_ensure,
        provider => $provider,
        source   => $alm_pull::package_source,
      }
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

      file { $alm_pull::executable:
        ensure         => file,
        owner          => 'root',
        group          => 'root',
        mode           => '0755',
        source         => $source,
        checksum       => 'sha256',
        checksum_value => $sum,
      }
    }
    default: {}
  }
}
