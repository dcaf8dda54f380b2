require 'spec_helper'

# The README's first lines of Puppet and of Hiera, as they are.
readme = File.read(File.expand_path('../../README.md', __dir__))
profile, alone = readme.scan(%r{^```puppet\n(.*?)^```$}m).flatten

describe 'alm_pull::profile::raspberry_pi' do
  directory = Dir.mktmpdir
  at_exit { FileUtils.remove_entry(directory) }
  File.write(File.join(directory, 'data.yaml'), readme[%r{^```yaml\n(.*?)^```$}m, 1])
  File.write(File.join(directory, 'hiera.yaml'), "version: 5\nhierarchy: [{name: readme, datadir: ., path: data.yaml, data_hash: yaml_data}]\n")

  let(:hiera_config) { File.join(directory, 'hiera.yaml') }

  it { expect(profile).to start_with('include alm_pull::profile::raspberry_pi ') }
  it { is_expected.to compile.with_all_deps }
  it { is_expected.to contain_exec('docker-recreate app').with_command(words('--env-file')) }
end

describe 'alm_pull' do
  let(:hiera_config) { File.expand_path('../../hiera.yaml', __dir__) }
  let(:pre_condition) { alone }

  it { is_expected.to compile.with_all_deps }
  it { is_expected.to contain_exec("docker-pull #{REGISTRY}/project/app/app:latest").that_requires('Package[docker-pull-with-progress]') }
  it { is_expected.to contain_exec('docker-recreate app').with_command(words('--env-file')) }
end
