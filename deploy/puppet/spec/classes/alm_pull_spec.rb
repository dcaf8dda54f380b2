require 'spec_helper'

describe 'alm_pull' do
  context 'with a package' do
    let(:params) { { 'install' => 'package' } }

    it { is_expected.to compile.with_all_deps }
    it { is_expected.to contain_package('docker-pull-with-progress').with_ensure('installed').without_provider }

    it 'replaces the old script by a link' do
      is_expected.to contain_file('/usr/local/bin/docker-pull-with-progress')
        .with('ensure' => 'link', 'target' => PULLER).that_requires('Package[docker-pull-with-progress]')
    end

    it { is_expected.to contain_file('/usr/local/bin/alm').with('ensure' => 'link', 'replace' => false) }
    it { is_expected.not_to contain_file('/etc/logrotate.d/docker-pull-with-progress') }
  end

  context 'with a .deb on the node' do
    let(:params) { { 'install' => 'package', 'package_source' => '/opt/a.deb', 'package_ensure' => 'latest' } }

    it { is_expected.to contain_package('docker-pull-with-progress').with('provider' => 'dpkg', 'source' => '/opt/a.deb') }
  end

  context 'with files by architecture, from Hiera' do
    executable = '/usr/local/lib/alm-pull/docker-pull-with-progress'

    it { is_expected.to compile.with_all_deps }

    it 'takes the file of the userland\'s architecture' do
      is_expected.to contain_file(executable).with(
        'source' => %r{-arm64$}, 'checksum' => 'sha256', 'checksum_value' => '0' * 64, 'mode' => '0755',
      )
    end

    it { is_expected.to contain_file('/usr/local/bin/docker-pull-with-progress').with_target(executable) }
    it { is_expected.to contain_file('/var/log/alm').with_mode('0755') }
    it { is_expected.to contain_file('/etc/logrotate.d/docker-pull-with-progress').with_content(%r{^"/var/log/alm/docker-pull\.log" \{}) }
    it { is_expected.to contain_file('/etc/logrotate.d/docker-pull-with-progress').without_content(%r{^\s*copytruncate}) }

    context 'on an architecture without a file' do
      let(:facts) { { 'alm_pull_architecture' => 'riscv64' } }

      it { is_expected.to compile.and_raise_error(%r{no value for the architecture 'riscv64', only for arm64, armhf, amd64}) }
    end

    context 'without the fact, as before pluginsync' do
      let(:facts) { { 'alm_pull_architecture' => nil } }

      it { is_expected.to compile.and_raise_error(%r{no value for the architecture ''}) }
    end
  end

  context 'with one file for all architectures' do
    let(:params) { { 'install' => 'file', 'source' => 'puppet:///modules/site/puller', 'checksum_value' => 'ab' } }

    it { is_expected.to contain_file('/usr/local/lib/alm-pull/docker-pull-with-progress').with_source('puppet:///modules/site/puller') }
  end

  context 'with install none' do
    let(:params) { { 'install' => 'none', 'executable' => '/opt/bin/puller', 'manage_links' => false } }

    it { is_expected.to compile.with_all_deps }
    it { is_expected.not_to contain_file('/usr/local/bin/alm') }
    it { is_expected.not_to contain_package('docker-pull-with-progress') }
    it { is_expected.to contain_file('/usr/local/lib/alm-pull/container').with_mode('0755') }
  end

  context 'with a monitor, from the package' do
    let(:params) { { 'install' => 'package', 'monitor' => true, 'site' => 'Berlin, hall 2' } }

    it { is_expected.to compile.with_all_deps }
    it { is_expected.to contain_service('alm-monitor').with('ensure' => 'running', 'enable' => true).that_requires('Package[docker-pull-with-progress]') }
    it { is_expected.to contain_file('/etc/default/alm-monitor').with_content(%r{^ALM_MONITOR_OPTIONS="--site 'Berlin, hall 2'"$}) }
    it { is_expected.not_to contain_file('/etc/systemd/system/alm-monitor.service') }
  end

  context 'with a monitor, an image and a container' do
    let(:params) { { 'install' => 'package', 'monitor' => true } }
    let(:post_condition) { "alm_pull::image { 'a:1': container => 'app' }" }

    ['docker-pull a:1', 'docker-recreate app', 'docker-start app'].each do |title|
      it { is_expected.not_to contain_exec(title).that_requires('Service[alm-monitor]') }
    end
    it { is_expected.to contain_exec('docker-recreate app').that_requires('Package[docker-pull-with-progress]') }
    it { is_expected.not_to contain_exec('docker-start app').that_requires('Package[docker-pull-with-progress]') }
    it { is_expected.to contain_exec('docker-start app').that_requires('File[/usr/local/lib/alm-pull/container]') }
  end

  context 'with a monitor, from a file' do
    let(:params) { { 'install' => 'file', 'source' => 'puppet:///modules/site/puller', 'checksum_value' => 'ab', 'monitor' => true } }

    it 'installs the unit, too' do
      is_expected.to contain_file('/etc/systemd/system/alm-monitor.service')
        .with_content(%r{^ExecStart=/usr/local/lib/alm-pull/docker-pull-with-progress --status --monitor /dev/tty1 })
        .that_notifies('Service[alm-monitor]')
    end
    it { is_expected.to contain_file('/etc/default/alm-monitor').with_content(%r{^ALM_MONITOR_OPTIONS=""$}) }
    it { is_expected.to contain_file('/usr/local/bin/alm-status').with_ensure('link') }
  end

  context 'with a log in the root directory' do
    let(:params) { { 'log' => '/x.log' } }

    it { is_expected.to compile.and_raise_error(%r{the log /x.log has no directory that could be managed}) }
  end

  context 'with a site that would break out of its quotes' do
    let(:params) { { 'install' => 'package', 'monitor' => true, 'site' => "x' --state /etc" } }

    it { is_expected.to compile.and_raise_error(%r{site}) }
  end

  context 'without a monitor' do
    let(:params) { { 'install' => 'package' } }

    it { is_expected.not_to contain_service('alm-monitor') }
  end

  context 'with an environment that has no value' do
    let(:params) { { 'environment' => ['no value'] } }

    it { is_expected.to compile.and_raise_error(%r{environment}) }
  end

  context 'without Hiera' do
    let(:hiera_config) { File.expand_path('../../hiera.yaml', __dir__) }

    context 'with a file and no source' do
      let(:params) { { 'install' => 'file' } }

      it { is_expected.to compile.and_raise_error(%r{needs a source}) }
    end

    context 'with a URL and no sum' do
      let(:params) { { 'install' => 'file', 'source' => 'https://example.com/puller' } }

      it { is_expected.to compile.and_raise_error(%r{needs a checksum_value}) }
    end
  end
end
