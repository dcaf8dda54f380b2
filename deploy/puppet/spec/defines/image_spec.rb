require 'spec_helper'

describe 'alm_pull::image' do
  let(:title) { 'registry.example.com:5000/app:1' }
  let(:pre_condition) { "class { 'alm_pull': install => 'package' }" }

  it { is_expected.to compile.with_all_deps }

  it 'pulls where the check does not say that there is nothing to pull' do
    is_expected.to contain_exec("docker-pull #{title}").with(
      'command' => [PULLER, '--ascii', '--retries', '3', '--stall-timeout', '600', '--log', '/var/log/alm/docker-pull.log', title],
      'unless' => [WHERE_INSTALLED + [PULLER, '--ascii', '--check', title]],
      'timeout' => 0,
      'logoutput' => true,
      'cwd' => '/',
    )
  end

  it { is_expected.to have_alm_pull__container_resource_count(0) }

  context 'with all that the class can say' do
    let(:pre_condition) do
      "class { 'alm_pull':
        install => 'package', host => 'unix:///run/d.sock', docker_config => '/etc/alm/docker', environment => ['A=b'],
        token_file => '/t', token_user => 'u', timeout => 600, logoutput => 'on_failure', retries => 0, stall_timeout => 60,
      }"
    end

    it do
      is_expected.to contain_exec("docker-pull #{title}").with(
        'command' => [PULLER, '--ascii', '--token-file', '/t', '--token-user', 'u', '--retries', '0', '--stall-timeout', '60',
                      '--log', '/var/log/alm/docker-pull.log', title],
        'unless' => [WHERE_INSTALLED + [PULLER, '--ascii', '--token-file', '/t', '--token-user', 'u', '--check', title]],
        'environment' => ['A=b', 'DOCKER_HOST=unix:///run/d.sock', 'DOCKER_CONFIG=/etc/alm/docker'],
        'timeout' => 600,
        'logoutput' => 'on_failure',
      )
    end

    context 'and the image otherwise' do
      let(:params) { { 'token_file' => '/own', 'timeout' => 0, 'logoutput' => false, 'platform' => 'linux/arm/v6' } }

      it do
        is_expected.to contain_exec("docker-pull #{title}").with(
          'command' => words('--platform', 'linux/arm/v6', '--token-file', '/own'), 'timeout' => 0, 'logoutput' => false,
        )
      end
    end
  end

  context 'with a login to its registry' do
    let(:pre_condition) { "class { 'alm_pull': install => 'package' } alm_pull::login { 'registry.example.com:5000': }" }

    it { is_expected.to contain_exec("docker-pull #{title}").that_requires('Exec[docker-login registry.example.com:5000]') }
  end

  context 'with a login to Docker Hub and an image of it' do
    let(:title) { 'team/app:1' }
    let(:pre_condition) { "class { 'alm_pull': install => 'package' } alm_pull::login { 'docker.io': token_user => 'me' }" }

    it { is_expected.to contain_exec('docker-pull team/app:1').that_requires('Exec[docker-login docker.io]') }
  end

  context 'with a container' do
    let(:params) { { 'container' => 'app', 'run_args' => ['-d', '--network', 'host'], 'command' => ['serve', '--all'] } }
    let(:arguments) { [PULLER, 'app', title, '--network', 'host', title, 'serve', '--all'] }

    it 'recreates it where it is not as it should be' do
      is_expected.to contain_exec('docker-recreate app').with(
        'command' => ['/usr/local/lib/alm-pull/container', 'recreate'] + arguments,
        'unless' => [WHERE_INSTALLED + ['/usr/local/lib/alm-pull/container', 'current'] + arguments],
      ).that_requires("Exec[docker-pull #{title}]")
    end

    context 'that is to remove the replaced image' do
      let(:params) { super().merge('remove_replaced' => true) }

      it { is_expected.to contain_exec('docker-recreate app').with_command(words('recreate-and-remove')) }
    end

    ['-d', '--detach', '--detach=true'].each do |option|
      context "with #{option}, which docker create does not know" do
        let(:params) { super().merge('run_args' => ['-it', option, '--network', 'host']) }
        let(:arguments) { [PULLER, 'app', title, '-it', '--network', 'host', title, 'serve', '--all'] }

        it { is_expected.to contain_exec('docker-recreate app').with_command(['/usr/local/lib/alm-pull/container', 'recreate'] + arguments) }
      end
    end

    ['--rm', '--name', '--name=other', '-dit', '-itd', '--detach=false', '--detach-keys=a', '--sig-proxy'].each do |option|
      context "with #{option}" do
        let(:params) { { 'container' => 'app', 'run_args' => [option] } }

        it { is_expected.to compile.and_raise_error(%r{#{option} is not for the container app}) }
      end
    end
  end

  context 'pulled by another already' do
    let(:params) { { 'image' => 'app:1' } }
    let(:pre_condition) { "class { 'alm_pull': install => 'package' } alm_pull::image { 'app:1': }" }

    it { is_expected.to compile.and_raise_error(%r{app:1 is pulled already, so not by '#{Regexp.escape(title)}' too}) }
  end

  context 'with another container on the same image' do
    let(:params) { { 'container' => 'app' } }
    let(:pre_condition) do
      "class { 'alm_pull': install => 'package' } alm_pull::container { 'second': image => '#{title}', run_args => ['--init'] }"
    end

    it { is_expected.to compile.with_all_deps }
    it { is_expected.to contain_exec('docker-recreate second').that_requires("Exec[docker-pull #{title}]") }
  end

  ['--privileged', '-v', 'a b', 'a;b', ''].each do |image|
    context "with '#{image}' for an image" do
      let(:params) { { 'image' => image } }

      it { is_expected.to compile.and_raise_error(%r{image}) }
    end
  end
end
