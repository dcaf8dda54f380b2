# Needs only rspec-puppet. Puppet finds a module by the name of its directory, which is not alm_pull here: hence the link.
require 'rspec-puppet'
require 'tmpdir'

module_root = File.expand_path('..', __dir__)
modules = Dir.mktmpdir
at_exit { FileUtils.remove_entry(modules) }
File.symlink(module_root, File.join(modules, 'alm_pull'))

REGISTRY = 'europe-west1-docker.pkg.dev'.freeze
PULLER = '/usr/bin/docker-pull-with-progress'.freeze
WHERE_INSTALLED = ['/bin/sh', '-c', '[ -x "$0" ] && [ -x "$1" ] && exec "$@"', PULLER].freeze
WHERE_HELPER = ['/bin/sh', '-c', '[ -x "$0" ] && exec "$0" "$@"'].freeze
CONTAINER = ['/usr/local/lib/alm-pull/container'].freeze
IMAGE = ['/usr/local/lib/alm-pull/image'].freeze
STATES = ['--state', '/var/lib/alm', '--run', '/run/alm'].freeze

# Matches a command that contains all of these words.
def words(*expected)
  ->(command) { (expected - command.flatten).empty? }
end

RSpec.configure do |config|
  config.setup_fixtures = false # rspec-puppet would link the module into itself
  config.module_path = modules
  config.hiera_config = File.join(module_root, 'examples/hiera.yaml')
  config.strict_variables = true
  config.default_facts = {
    'alm_pull_architecture' => 'arm64',
    'kernel' => 'Linux',
    'os' => { 'family' => 'Debian', 'name' => 'Debian', 'architecture' => 'aarch64' },
    'networking' => { 'fqdn' => 'pi-2.example.com' },
  }
end
