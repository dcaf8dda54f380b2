require 'spec_helper'

describe 'alm_pull::container' do
  let(:title) { 'app' }
  let(:pre_condition) { "class { 'alm_pull': install => 'package' } alm_pull::image { 'a:1': }" }
  let(:params) { { 'image' => 'a:1', 'run_args' => run_args } }

  {
    ['--rm']                             => 'named and removed',
    ['--rm=false']                       => 'named and removed',
    ['--name', 'other']                  => 'named and removed',
    ['--name=other']                     => 'named and removed',
    ['--cidfile', '/run/app.cid']        => 'only once',
    ['--cidfile=/run/app.cid']           => 'only once',
    ['--pull', 'always']                 => 'never when a container',
    ['--pull=always']                    => 'never when a container',
    ['--detach']                         => 'leave it out',
    ['--detach=false']                   => 'leave it out',
    ['--detach-keys', 'ctrl-a']          => 'always detached',
    ['--sig-proxy']                      => 'always detached',
    ['-dp', '80:80']                     => '-d in it',
    ['-dp80:80']                         => '-d in it',
    ['-dit']                             => '-d in it',
    ['-itd']                             => '-d in it',
    ['-Pd']                              => '-d in it',
    ['-d=true']                          => '-d in it',
    ['-ip', '80:80']                     => 'write -i as a word of its own',
    ['-tp80:80']                         => 'write -t as a word of its own',
    ['-q']                               => 'does not pull',
    ['--help']                           => 'create nothing',
    ['--label', 'alm_pull.arguments=1']  => 'this module',
    ['-lalm_pull.arguments=1']           => 'this module',
    ['--network host']                   => 'an element of its own',
    ['host']                             => 'an element of its own',
    ['-v /opt/data:/data']               => 'an element of its own',
    ['-e A=b']                           => 'an element of its own',
    ['-itp', '80:80']                    => 'write -i as a word of its own',
    ['--rm=true']                        => 'named and removed',
    ['-d=false']                         => '-d in it',
    ['--quiet=false']                    => 'does not pull',
    ['--name=']                          => 'named and removed',
    ['--network="host"']                 => 'its quotes would be part',
    ['-v', "'/opt/data:/data'"]          => 'its quotes would be part',
    ['--uts', 'container:friend']        => 'only has --uts host',
    ['--init', 'nginx']                  => 'an element of its own',
    ['--']                               => 'an element of its own',
    ['-']                                => 'an element of its own',
    ['--init', '--network']              => 'its value is missing',
    ['-p']                               => 'its value is missing',
    ['--network', 'container:app']       => 'cannot depend on itself',
  }.each do |words, reason|
    context "with #{words.join(' ')}" do
      let(:run_args) { words }

      it { is_expected.to compile.and_raise_error(%r{is not for the container app: .*#{Regexp.escape(reason)}}) }
    end
  end

  {
    # Words that look like refused options, but are the values of other options.
    ['--env', '--rm', '-e', '-d', '--label', '--name=x', '--entrypoint=', '-v', '--pull'] => ['env:--rm', 'env:-d'],
    ['-it', '-i', '-t', '-ti', '-d', '-p80:80', '-P']              => [],
    ['-p=80:80', '--uts', 'host', '--cgroupns=host', '--health-cmd', '"/a b" "c"', '-e', '"A"="b"'] => [],
    ['--env-file', '/a', '--env-file', '/b', '--label-file', '/c'] => ['env-file:/a', 'env-file:/b', 'file:/c'],
    ['--memory-swap', '-1', '--read-only', '--init=true']          => [],
    ['--network', 'none', '--pid', 'host', '--ipc=private']        => [],
    ['--network', 'container:friend']                              => ['network:friend'],
    ['--net=container:friend', '--pid=container:f', '--ipc', 'container:friend'] => ['network:friend', 'pid:f', 'ipc:friend'],
    ['--network', 'site', '--network=name=other,alias=x']          => ['net:site', 'net:other'],
    ['--volumes-from', 'data:ro', '--link=db:database']            => ['volumes-from:data', 'link:db'],
    ['--env-file', '/e', '--label-file=/l', '--env-file=/e']       => ['env-file:/e', 'file:/l'],
    ['--security-opt', 'seccomp=/s.json', '--security-opt=seccomp=unconfined'] => ['file:/s.json'],
    ['-e', 'TOKEN', '--env', 'A=b', '-eHOST']                      => ['env:TOKEN', 'env:HOST'],
    ['--env=my.token', '-e=A=', '-e', 'B-C', '-PeD']               => ['env:my.token', 'env:B-C', 'env:D'],
  }.each do |words, refers|
    context "with #{words.join(' ')}" do
      let(:run_args) { words }

      it 'passes what they refer to, to check and recreate alike' do
        command = catalogue.resource('exec', 'docker-recreate app')[:command]
        unless_ = catalogue.resource('exec', 'docker-recreate app')[:unless].flatten
        arguments = command.drop(command.index('a:1') + 1)
        expect(command.each_cons(2).select { |pair| pair[0] == '--refers' }.map(&:last)).to eq(refers)
        expect(arguments[Integer(command[command.index('--image-at') + 1]) - 1]).to eq('a:1')
        expect(unless_ - command).to eq(WHERE_INSTALLED + ['current'])
      end
    end
  end

  context 'that depends on other resources of the catalog' do
    let(:run_args) { ['--network', 'container:friend', '--volumes-from', 'data', '--env-file', '/etc/app.env'] }
    let(:params) { super().merge('restart_on' => ['/etc/app.yaml']) }
    let(:pre_condition) do
      <<~PP
        class { 'alm_pull': install => 'package' }
        alm_pull::image { 'a:1': }
        alm_pull::container { ['friend', 'data']: image => 'a:1' }
        file { ['/etc/app.env', '/etc/other']: }
        file { 'configuration': path => '/etc/app.yaml' }
      PP
    end

    it { is_expected.to compile.with_all_deps }

    ['Exec[docker-recreate friend]', 'Exec[docker-recreate data]', 'File[/etc/app.env]', 'File[configuration]'].each do |other|
      it { is_expected.to contain_exec('docker-recreate app').that_requires(other) }
    end
    it { is_expected.not_to contain_exec('docker-start app').that_requires('Exec[docker-recreate friend]') }
    it { is_expected.to contain_exec('docker-start app').that_requires('Exec[docker-start friend]') }
    it { is_expected.not_to contain_exec('docker-start app').that_requires('Exec[docker-start data]') }
  end

  ['app.new', 'app.old', '-app', 'a/b', ''].each do |name|
    context "by the name '#{name}'" do
      let(:run_args) { [] }
      let(:params) { super().merge('container' => name) }

      it { is_expected.to compile.and_raise_error(%r{container}) }
    end
  end
end
