require 'spec_helper'

describe 'alm_pull::agent' do
  let(:node) { 'pi-2.example.com' }
  let(:params) { { 'broker' => 'mqtts://broker.example.com:8883', 'site' => 'Berlin, hall 2' } }

  ssl = '/etc/puppetlabs/puppet/ssl'
  drop_in = '/etc/systemd/system/alm-agent.service.d/credentials.conf'

  it { is_expected.to compile.with_all_deps }
  it { is_expected.to contain_package('alm-agent').with_ensure('installed') }

  it 'has its options in one line, without a secret' do
    is_expected.to contain_file('/etc/default/alm-agent').with_content(
      "# Managed by Puppet.\nALM_AGENT_OPTIONS=\"--broker mqtts://broker.example.com:8883 --topic fleet --mqtt 5 --site 'Berlin, hall 2'\"\n",
    ).that_notifies('Service[alm-agent]')
  end

  it 'gets Puppet\'s own certificate from systemd' do
    is_expected.to contain_file(drop_in).with_content(<<~END).that_notifies('Exec[alm-agent: read the unit]')
      # Managed by Puppet. The service has no right to read these files: systemd passes it copies.
      [Service]
      LoadCredential=ca:#{ssl}/certs/ca.pem
      LoadCredential=cert:#{ssl}/certs/pi-2.example.com.pem
      LoadCredential=key:#{ssl}/private_keys/pi-2.example.com.pem
      ExecStart=
      ExecStart=/usr/bin/alm-agent --ca ${CREDENTIALS_DIRECTORY}/ca --cert ${CREDENTIALS_DIRECTORY}/cert --key ${CREDENTIALS_DIRECTORY}/key $ALM_AGENT_OPTIONS
    END
  end

  it 'restarts with a renewed certificate' do
    is_expected.to contain_exec('alm-agent: cert was renewed').with(
      'command' => 'systemctl restart alm-agent.service',
      'unless' => "cmp -s '#{ssl}/certs/pi-2.example.com.pem' /run/credentials/alm-agent.service/cert",
    )
  end

  context 'with a login' do
    let(:params) { super().merge('user' => 'pi-2', 'password_file' => '/etc/alm/password', 'mqtt' => '3.1.1', 'ssldir' => '/var/lib/puppet/ssl') }

    it { is_expected.to contain_file('/etc/default/alm-agent').with_content(%r{--mqtt 3\.1\.1 .*--user pi-2"}) }

    it {
      is_expected.to contain_file(drop_in)
        .with_content(%r{^LoadCredential=ca:/var/lib/puppet/ssl/certs/ca\.pem\nLoadCredential=password:/etc/alm/password\nExecStart=\n})
        .with_content(%r{ --password-file \$\{CREDENTIALS_DIRECTORY\}/password \$ALM_AGENT_OPTIONS$}).without_content(%r{--cert})
    }
  end

  context 'with receivers of notices' do
    let(:params) { super().merge('notify_urls' => sensitive(['https://hooks.slack.com/services/T0/B0/hush', 'mailto:ops@example.com'])) }

    it { is_expected.to compile.with_all_deps }

    it 'keeps them in a file that only root can read, and in no catalog or report' do
      is_expected.to contain_file('/etc/alm/notify')
        .with('mode' => '0600', 'owner' => 'root', 'show_diff' => false, 'backup' => false)
        .with_content(sensitive("https://hooks.slack.com/services/T0/B0/hush\nmailto:ops@example.com\n"))
        .that_comes_before('Service[alm-agent]')
      catalogue.resources.each do |resource|
        shown = resource.to_hash.reject { |name, _| resource.sensitive_parameters.include?(name) }
        expect(shown.to_s).not_to match(/hush/), resource.ref
      end
    end

    it { is_expected.to contain_file(drop_in).with_content(%r{^LoadCredential=notify:/etc/alm/notify$}).with_content(%r{ --notify-file \$\{CREDENTIALS_DIRECTORY\}/notify \$ALM}) }
    it { is_expected.to contain_exec('alm-agent: notify was renewed') }
    it { is_expected.to contain_file('/etc/systemd/system/alm-agent.service.d/mailer.conf').with_ensure('absent') }

    context 'without a broker, through a setuid mailer' do
      let(:params) { super().reject { |name, _| name == 'broker' }.merge('setuid_mailer' => true) }

      it { is_expected.to contain_file('/etc/default/alm-agent').with_content("# Managed by Puppet.\nALM_AGENT_OPTIONS=\"--device pi-2.example.com --site 'Berlin, hall 2'\"\n") }
      it { is_expected.to contain_file(drop_in).with_content(%r{^ExecStart=/usr/bin/alm-agent --notify-file \S+ \$ALM_AGENT_OPTIONS$}).without_content(%r{cert}) }
      it { is_expected.to contain_file('/etc/systemd/system/alm-agent.service.d/mailer.conf').with('ensure' => 'link', 'target' => '/usr/share/doc/alm-agent/examples/mailer.conf') }
    end

    [['gopher://hush'], [], ["https://a/hush\nx"]].each do |urls|
      context "that are not valid (#{urls.length})" do
        let(:params) { super().merge('notify_urls' => sensitive(urls)) }

        it {
          is_expected.to compile.and_raise_error(%r{notify_urls})
          is_expected.not_to compile.and_raise_error(%r{hush})
        }
      end
    end
  end

  context 'without receivers' do
    it { is_expected.to contain_file('/etc/alm/notify').with_ensure('absent') }
  end

  context 'with neither broker nor receivers' do
    let(:params) { {} }

    it { is_expected.to compile.and_raise_error(%r{neither broker nor notify_urls}) }
  end

  context 'with half a login' do
    let(:params) { super().merge('user' => 'pi-2') }

    it { is_expected.to compile.and_raise_error(%r{user and password_file belong together}) }
  end

  { 'broker' => 'mqtt://b', 'site' => "a' --once '", 'topic' => 'fleet/#', 'device' => 'a b' }.each do |name, value|
    context "with #{name} #{value}" do
      let(:params) { super().merge(name => value) }

      it { is_expected.to compile.and_raise_error(%r{'#{name}'}) }
    end
  end
end

describe 'alm_pull::fleet' do
  let(:node) { 'broker.example.com' }

  it { is_expected.to compile.with_all_deps }
  it { is_expected.to contain_package('alm-fleet').that_requires('Package[mosquitto]') }

  {
    'broker.pem' => 'certs/broker.example.com.pem', 'broker.key' => 'private_keys/broker.example.com.pem',
    'ca.pem' => 'certs/ca.pem', 'crl.pem' => 'crl.pem'
  }.each do |name, path|
    it {
      is_expected.to contain_file("/etc/mosquitto/alm-fleet/#{name}")
        .with('source' => "file:///etc/puppetlabs/puppet/ssl/#{path}", 'owner' => 'mosquitto', 'mode' => '0400', 'show_diff' => false)
        .that_notifies('Service[mosquitto]')
    }
  end

  it {
    is_expected.to contain_file('/etc/default/alm-fleet').with_content(<<~END)
      # Managed by Puppet.
      ROOT=fleet
      DEVICES=10000
      CERT=/etc/mosquitto/alm-fleet/broker.pem
      KEY=/etc/mosquitto/alm-fleet/broker.key
      DEVICE_PORT=8883
      CA=/etc/mosquitto/alm-fleet/ca.pem
      CRL=/etc/mosquitto/alm-fleet/crl.pem
      PASSWORD_PORT=
      VIEWER_PORT=8443
      SOCKET=/run/mosquitto/alm-fleet.sock
    END
  }

  it { is_expected.to contain_exec('alm-fleet-configure').with('unless' => 'alm-fleet-configure --check').that_notifies('Service[mosquitto]') }

  it 'serves the page as deploy/fleet/nginx.conf does' do
    as_shipped = File.read(File.expand_path('../../../fleet/nginx.conf', __dir__)).sub(%r{\A(#.*\n)+}, "# Managed by Puppet.\n")
    is_expected.to contain_file('/etc/nginx/conf.d/alm-fleet.conf').that_notifies('Service[nginx]').with_content(
      as_shipped.sub('/etc/ssl/certs/alm-fleet.pem', '/etc/mosquitto/alm-fleet/broker.pem')
                .sub('/etc/ssl/private/alm-fleet.key', '/etc/mosquitto/alm-fleet/broker.key'),
    )
  end

  it { is_expected.to contain_file('/etc/mosquitto/alm-fleet/broker.pem').that_notifies('Service[nginx]') }

  context 'with another port and certificate of the page' do
    let(:params) { { 'topic' => 'fleet/eu', 'viewer_port' => 9443, 'page_port' => 444, 'page_cert' => '/etc/page.pem', 'page_key' => '/etc/page.key' } }

    it {
      is_expected.to contain_file('/etc/nginx/conf.d/alm-fleet.conf')
        .with_content(%r{^    listen 444 ssl;$.*^    ssl_certificate /etc/page\.pem;$.*"root": "fleet/eu".*https://127\.0\.0\.1:9443;}m)
    }
  end

  context 'without a page' do
    let(:params) { { 'viewer_port' => 0 } }

    it { is_expected.not_to contain_package('nginx') }
    it { is_expected.to contain_file('/etc/default/alm-fleet').with_content(%r{^VIEWER_PORT=$}) }
  end

  context 'with a page but no port for viewers' do
    let(:params) { { 'viewer_port' => 0, 'page_port' => 443 } }

    it { is_expected.to compile.and_raise_error(%r{a page_port needs a viewer_port}) }
  end

  context 'where Puppet keeps its certificates elsewhere' do
    let(:facts) { { 'alm_pull_ssldir' => '/var/lib/puppet/ssl' } }

    it { is_expected.to contain_file('/etc/mosquitto/alm-fleet/crl.pem').with_source('file:///var/lib/puppet/ssl/crl.pem') }
  end

  context 'with another beginning of the topics' do
    let(:params) { { 'topic' => 'fleet/eu', 'password_port' => 8884 } }

    it { is_expected.to contain_file('/etc/default/alm-fleet').with_content(%r{^ROOT=fleet/eu$.*^PASSWORD_PORT=8884$}m) }
  end

  context 'with a wildcard' do
    let(:params) { { 'topic' => 'fleet/#' } }

    it { is_expected.to compile.and_raise_error(%r{'topic'}) }
  end
end
