# @summary Logs docker in to a registry, with a password from a file
#
# For nodes on which docker itself needs the credentials; otherwise `alm_pull::token_file` passes the file to the pulls
# directly. It logs in if docker's `config.json` does not have this user and password for the registry. The password is never in an
# argument, in the environment or in a report. All pulls from this registry wait for it.
#
# @param registry
#   The registry's host, with its port if it has one; `docker.io` is Docker Hub.
# @param token_file
#   The file with the password: an access token of the GCP Artifact Registry, or a service account's key.
# @param token_user
#   The user for this password; if unset, `_json_key` for a service account's key, else `oauth2accesstoken`.
#
# @example The registry of a GCP project
#   alm_pull::login { 'europe-west1-docker.pkg.dev': }
define alm_pull::login (
  Alm_pull::Registry $registry = $title,
  Alm_pull::Path $token_file = '/opt/alm/config/gcp-registry-token',
  Optional[String[1]] $token_user = undef,
) {
  include alm_pull

  $arguments = [$registry, $token_file, $token_user].filter |$word| { $word =~ NotUndef }

  $helper = "${alm_pull::libexec}/login"

  exec { "docker-login ${registry}":
    command     => [$helper, 'login'] + $arguments,
    unless      => [$alm_pull::where_helper + [$helper, 'current'] + $arguments],
    environment => $alm_pull::command_environment,
    path        => $alm_pull::path,
    cwd         => '/',
    timeout     => 120,
    logoutput   => on_failure,
    require     => Class['alm_pull::helpers'],
  }
}
