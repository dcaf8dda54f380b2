# One image with its container, without a profile.
class { 'alm_pull':
  install    => 'package',
  token_file => '/opt/alm/config/gcp-registry-token',
}

alm_pull::image { 'app':
  image           => 'europe-west1-docker.pkg.dev/project/alm-app/alm-app:latest',
  container       => 'alm-app',
  run_args        => ['--network', 'host', '--restart', 'unless-stopped'],
  remove_replaced => true,
}
