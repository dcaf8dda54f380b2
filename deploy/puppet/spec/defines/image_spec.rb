require 'spec_helper'

describe 'alm_pull::image' do
  let(:title) { 'registry.example.com:5000/app:1' }
  let(:pre_condition) { "class { 'alm_pull': install => 'package' }" }

  it { is_expected.to compile.with_all_deps }

  it 'pulls unless the check reports that there is nothing to pull' do
    is_expected.to contain_exec("docker-pull #{title}").with(
      'command' => IMAGE + ['pull'] + STATES + [title, PULLER, '--ascii', '--retries', '3', '--stall-timeout', '600',
                                                '--log', '/var/log/alm/docker-pull.log', title],
      'unless' => [WHERE_INSTALLED + IMAGE + ['current'] + STATES + ['--when-unknown', 'skip', title, PULLER, '--ascii', '--check', title]],
      'timeout' => 0,
      'logoutput' => true,
      'cwd' => '/',
    )
  end

  it 'needs the executable and the helpers, and neither the links nor the monitor' do
    is_expected.to contain_exec("docker-pull #{title}").with_require(['Class[Alm_pull::Helpers]', 'Class[Alm_pull::Executable]'])
  end

  it { is_expected.to have_alm_pull__container_resource_count(0) }
  it { is_expected.not_to contain_exec("docker-clean #{title}") }

  context 'with ensure absent' do
    let(:params) { { 'ensure' => 'absent' } }

    it { is_expected.not_to contain_exec("docker-pull #{title}") }
    it 'forgets its pulls, and the states of its containers' do
      of = ['--state', '/var/lib/alm', title, PULLER, '--status', '--ascii']
      is_expected.to contain_exec("docker-forget #{title}").with(
        'command' => IMAGE + ['forget'] + of + ['--forget', title],
        'unless' => [['/bin/sh', '-c', '! [ -x "$0" ] || ! [ -x "$1" ] || exec "$@"', PULLER] + IMAGE + ['forgotten'] + of + ['--json', title]],
      )
    end

    context 'with a container' do
      let(:params) { super().merge('container' => 'app') }

      it { is_expected.to compile.and_raise_error(%r{has ensure => absent, so the container app cannot be kept}) }
    end
  end

  context 'with remove_replaced' do
    let(:params) { { 'remove_replaced' => true } }

    it { is_expected.to contain_exec("docker-pull #{title}").with_command(words('pull', '--remove-replaced')) }

    it 'cleans in each run, whether or not the pull succeeds' do
      is_expected.to contain_exec("docker-clean #{title}").with(
        'command' => IMAGE + ['clean'] + STATES + [title],
        'unless' => [WHERE_HELPER + IMAGE + ['cleaned'] + STATES + [title]],
        'require' => 'Class[Alm_pull::Helpers]',
      )
    end
  end

  context 'with all parameters of the class that concern it' do
    let(:pre_condition) do
      "class { 'alm_pull':
        install => 'package', host => 'unix:///run/d.sock', docker_config => '/etc/alm/docker', environment => ['A=b'],
        token_file => '/t', token_user => 'u', timeout => 600, logoutput => 'on_failure', retries => 0, stall_timeout => 60,
        when_unknown => 'pull', state => '/s', run => '/r',
      }"
    end

    it do
      is_expected.to contain_exec("docker-pull #{title}").with(
        'command' => IMAGE + ['pull', '--state', '/s', '--run', '/r', title, PULLER, '--ascii', '--state', '/r/pull', '--token-file', '/t',
                              '--token-user', 'u', '--retries', '0', '--stall-timeout', '60', '--log', '/var/log/alm/docker-pull.log', title],
        'unless' => [WHERE_INSTALLED + IMAGE + ['current', '--state', '/s', '--run', '/r', '--when-unknown', 'pull', title] +
                     [PULLER, '--ascii', '--state', '/r/pull', '--token-file', '/t', '--token-user', 'u', '--check', title]],
        'environment' => ['A=b', 'DOCKER_HOST=unix:///run/d.sock', 'DOCKER_CONFIG=/etc/alm/docker'],
        'timeout' => 600,
        'logoutput' => 'on_failure',
      )
    end

    context 'with its own parameters' do
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

  context 'with a login to Docker Hub and an image from there' do
    let(:title) { 'team/app:1' }
    let(:pre_condition) { "class { 'alm_pull': install => 'package' } alm_pull::login { 'docker.io': token_user => 'me' }" }

    it { is_expected.to contain_exec('docker-pull team/app:1').that_requires('Exec[docker-login docker.io]') }
  end

  context 'with a container' do
    let(:params) { { 'container' => 'app', 'run_args' => ['-d', '--network', 'host'], 'command' => ['serve', '--all'] } }
    let(:options) { ['--state', '/var/lib/alm', '--image-at', '3'] }
    let(:recreate_options) { options + ['--grace', '30', '--grace-limit', '600'] }
    let(:arguments) { [PULLER, 'app', title, '--network', 'host', title, 'serve', '--all'] }

    it 'recreates it unless it is current' do
      is_expected.to contain_exec('docker-recreate app').with(
        'command' => CONTAINER + ['recreate'] + recreate_options + arguments,
        'unless' => [WHERE_INSTALLED + CONTAINER + ['current'] + options + arguments],
        'timeout' => 900,
      ).that_requires("Exec[docker-pull #{title}]")
    end

    it 'starts it from the local image, whether or not the pull succeeds' do
      is_expected.to contain_exec('docker-start app').with(
        'command' => CONTAINER + ['start'] + recreate_options + arguments,
        'unless' => [WHERE_HELPER + CONTAINER + ['started'] + options + arguments],
        'require' => 'Class[Alm_pull::Helpers]',
      )
    end

    context 'with remove_replaced' do
      let(:params) { super().merge('remove_replaced' => true) }

      it { is_expected.to contain_exec('docker-recreate app').with_command(words('--remove-replaced')) }
    end

    context 'with another trial and restart_on' do
      let(:params) { super().merge('grace' => 0, 'grace_limit' => 60, 'restart_on' => ['/etc/app.yaml']) }

      it do
        is_expected.to contain_exec('docker-recreate app').with(
          'command' => CONTAINER + ['recreate', '--state', '/var/lib/alm', '--image-at', '3', '--refers', 'file:/etc/app.yaml',
                                    '--grace', '0', '--grace-limit', '60'] + arguments,
          'timeout' => 360,
        )
      end
    end
  end

  context 'with what concerns a container, and none' do
    let(:params) { { 'command' => ['serve'], 'restart_on' => ['/etc/app.yaml'], 'grace' => 0 } }

    it { is_expected.to compile.and_raise_error(%r{'#{Regexp.escape(title)}' has command, restart_on, grace and no container}) }
  end

  context 'with an image that another resource pulls' do
    let(:params) { { 'image' => 'app:1' } }
    let(:pre_condition) { "class { 'alm_pull': install => 'package' } alm_pull::image { 'app:1': }" }

    it { is_expected.to compile.and_raise_error(%r{'#{Regexp.escape(title)}': another alm_pull::image pulls app:1}) }
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
    context "with the image '#{image}'" do
      let(:params) { { 'image' => image } }

      it { is_expected.to compile.and_raise_error(%r{image}) }
    end
  end
end
