require 'spec_helper'

init = "#{REGISTRY}/project/alm-init/alm-init:latest"
app = "#{REGISTRY}/project/alm-app/alm-app:latest"
telemetry = "#{REGISTRY}/project/alm-telemetry/alm-telemetry:latest"

['raspberry_pi', 'amd_server', 'dev_machine'].each do |profile|
  describe "alm_pull::profile::#{profile}" do
    it { is_expected.to compile.with_all_deps }
    it { is_expected.to have_alm_pull__image_resource_count(3) }
    it { is_expected.to have_alm_pull__container_resource_count(2) }

    [init, app, telemetry].each do |image|
      it { is_expected.to contain_exec("docker-pull #{image}").that_requires('Class[alm_pull::executable]') }
    end
    it { is_expected.to contain_exec('docker-recreate alm-app').that_requires("Exec[docker-pull #{app}]") }
    it { is_expected.to contain_exec('docker-recreate alm-telemetry').that_requires("Exec[docker-pull #{telemetry}]") }

    it 'has a check for each command, and none that waits for an event' do
      catalogue.resources.select { |resource| resource.type == 'Exec' }.each do |resource|
        expect(resource[:refreshonly]).to be_nil
        expect(resource[:unless]).not_to be_nil
      end
    end
  end
end

['raspberry_pi', 'amd_server'].each do |profile|
  describe "alm_pull::profile::#{profile}" do
    it 'logs in first' do
      is_expected.to contain_exec("docker-login #{REGISTRY}").with_command(
        ['/usr/local/lib/alm-pull/login', 'login', REGISTRY, '/opt/alm/config/gcp-registry-token'],
      ).that_comes_before([init, app, telemetry].map { |image| "Exec[docker-pull #{image}]" })
    end

    it { is_expected.to contain_exec('docker-recreate alm-app').with_command(words('recreate', '--remove-replaced')) }

    context 'without docker login' do
      let(:params) { { 'settings' => { 'docker_login' => false } } }

      it { is_expected.not_to contain_exec("docker-login #{REGISTRY}") }

      it 'passes the token file to pull and check alike' do
        token = words('--token-file', '/opt/alm/config/gcp-registry-token')
        is_expected.to contain_exec("docker-pull #{app}").with_command(token).with_unless(token)
      end
    end
  end
end

describe 'alm_pull::profile::dev_machine' do
  it { is_expected.not_to contain_exec("docker-login #{REGISTRY}") }
  it { is_expected.to contain_exec('docker-recreate alm-app').with_command(words('recreate')) }

  context 'with docker login' do
    let(:params) { { 'settings' => { 'docker_login' => true, 'token_file' => '/t' } } }

    it { is_expected.to contain_exec("docker-login #{REGISTRY}").with_command(words('/t')) }
  end

  it 'uses docker\'s own credentials' do
    expect(catalogue.resource('exec', "docker-pull #{app}")[:command]).not_to include('--token-file')
  end
end

describe 'alm_pull::profile::raspberry_pi' do
  context 'on a node with its own reference and settings' do
    let(:facts) { { 'networking' => { 'fqdn' => 'pi-1.example.com' } } }

    it { is_expected.to contain_exec("docker-pull #{REGISTRY}/project/alm-app/alm-app:next") }
    it { is_expected.not_to contain_exec("docker-pull #{app}") }
    it { is_expected.to contain_exec("docker-pull #{telemetry}") }

    it 'keeps replaced images, and is logged in as the fleet is' do
      is_expected.to contain_exec('docker-recreate alm-app').with_command(->(command) { !command.include?('--remove-replaced') })
      is_expected.not_to contain_exec("docker-clean #{REGISTRY}/project/alm-app/alm-app:next")
      is_expected.to contain_exec("docker-login #{REGISTRY}")
    end

    it 'runs it with the arguments of the fleet' do
      is_expected.to contain_exec('docker-recreate alm-app').with_command(words('--network', 'host', '--env-file'))
    end
  end

  context 'with an absent image that has a container' do
    let(:params) { { 'images' => { 'old' => { 'image' => 'a:1', 'container' => 'l', 'ensure' => 'absent' }, 'new' => { 'image' => 'b:1', 'container' => 'r' } } } }

    it { is_expected.to compile.with_all_deps }
    it { is_expected.to contain_exec('docker-forget a:1').that_requires('Class[alm_pull::executable]') }
    it { is_expected.not_to contain_exec('docker-pull a:1') }
    it { is_expected.not_to contain_exec('docker-clean a:1') }
    it { is_expected.not_to contain_exec('docker-recreate l') }
    it { is_expected.not_to contain_exec('docker-start l') }
    it { is_expected.not_to contain_exec('docker-forget b:1') }
    it { is_expected.to contain_exec('docker-recreate r').that_requires('Exec[docker-pull b:1]') }
  end

  context 'with two containers on one image' do
    let(:params) { { 'images' => { 'left' => { 'image' => 'a:1', 'container' => 'l' }, 'right' => { 'image' => 'a:1', 'container' => 'r' } } } }

    it { is_expected.to compile.with_all_deps }
    it { is_expected.to have_alm_pull__image_resource_count(1) }
    it { is_expected.to contain_exec('docker-recreate l').that_requires('Exec[docker-pull a:1]') }
    it { is_expected.to contain_exec('docker-recreate r').that_requires('Exec[docker-pull a:1]') }
  end

  context 'with two containers on one image, one of them with remove_replaced false' do
    let(:params) do
      { 'images' => { 'left' => { 'image' => 'a:1', 'container' => 'l' },
                      'right' => { 'image' => 'a:1', 'container' => 'r', 'remove_replaced' => false, 'grace' => 5 } } }
    end

    it { is_expected.to have_alm_pull__image_resource_count(1) }
    it { is_expected.not_to contain_exec('docker-clean a:1') }
    it { is_expected.to contain_exec('docker-recreate l').with_command(words('--remove-replaced', '30')) }
    it { is_expected.to contain_exec('docker-recreate r').with_command(words('--grace', '5')) }
  end

  context 'with two entries that pull one image differently' do
    let(:params) { { 'images' => { 'left' => { 'image' => 'a:1', 'platform' => 'linux/arm' }, 'other' => { 'image' => 'a:V1' }, 'right' => entry } } }
    let(:entry) { { 'image' => 'a:1', 'timeout' => 60 } }

    it { is_expected.to compile.and_raise_error(%r{the entries left and right of images differ in platform, timeout, and both are the image a:1}) }

    context 'because of a reference' do
      let(:params) { super().merge('references' => { 'other' => 'a:1' }) }
      let(:entry) { { 'image' => 'a:2' } }

      it { is_expected.to compile.and_raise_error(%r{the entries left and other of images differ in platform, and}) }
    end

    context 'with other letters in the tag' do
      let(:entry) { { 'image' => 'a:v1', 'ensure' => 'present', 'timeout' => 60 } }

      it { is_expected.to compile.with_all_deps }
    end
  end

  context 'with two entries of which one says the default' do
    let(:params) { { 'images' => { 'left' => { 'image' => 'a:1' }, 'right' => { 'image' => 'a:1', 'ensure' => 'present' } } } }

    it { is_expected.to compile.with_all_deps }
  end

  context 'with run_args and no container' do
    let(:params) { { 'images' => { 'app' => { 'image' => 'a:1', 'run_args' => [], 'grace' => 0 }.merge(more) } } }
    let(:more) { {} }

    it { is_expected.to compile.and_raise_error(%r{the entry app of images has run_args, grace and no container}) }

    context 'when absent' do
      let(:more) { { 'ensure' => 'absent' } }

      it { is_expected.to compile.with_all_deps }
    end
  end

  context 'with an unknown setting' do
    let(:params) { { 'settings' => { 'tokens' => '/t' } } }

    it { is_expected.to compile.and_raise_error(%r{no parameter named 'tokens'}) }
  end

  context 'with a reference for an image that does not exist' do
    let(:params) { { 'references' => { 'apps' => 'a:1' } } }

    it { is_expected.to compile.and_raise_error(%r{references names apps}) }
  end
end
