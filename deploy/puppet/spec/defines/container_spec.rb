require 'spec_helper'

describe 'alm_pull::container' do
  let(:title) { 'app' }
  let(:pre_condition) { "class { 'alm_pull': install => 'package' } alm_pull::image { 'a:1': }" }
  let(:params) { { 'image' => 'a:1', 'run_args' => run_args } }

  {
    ['--rm']                             => 'names and removes',
    ['--rm=false']                       => 'names and removes',
    ['--name', 'other']                  => 'names and removes',
    ['--name=other']                     => 'names and removes',
    ['--cidfile', '/run/app.cid']        => 'if the file exists',
    ['--cidfile=/run/app.cid']           => 'if the file exists',
    ['--pull', 'always']                 => 'pulls the image',
    ['--pull=always']                    => 'pulls the image',
    ['--detach']                         => 'always detached',
    ['--detach=false']                   => 'always detached',
    ['--detach-keys', 'ctrl-a']          => 'always detached',
    ['--sig-proxy']                      => 'always detached',
    ['-dp', '80:80']                     => 'it contains -d',
    ['-dp80:80']                         => 'it contains -d',
    ['-dit']                             => 'it contains -d',
    ['-itd']                             => 'it contains -d',
    ['-Pd']                              => 'it contains -d',
    ['-d=true']                          => 'it contains -d',
    ['-ip', '80:80']                     => 'write -i as an element of its own',
    ['-tp80:80']                         => 'write -t as an element of its own',
    ['-q']                               => 'pulls the image',
    ['--help']                           => 'create nothing',
    ['--label', 'alm_pull.arguments=1']  => 'reserved for this module',
    ['-lalm_pull.arguments=1']           => 'reserved for this module',
    ['--network host']                   => 'an element of its own',
    ['host']                             => 'an element of its own',
    ['-v /opt/data:/data']               => 'an element of its own',
    ['-e A=b']                           => 'an element of its own',
    ['-itp', '80:80']                    => 'write -i as an element of its own',
    ['--rm=true']                        => 'names and removes',
    ['-d=false']                         => 'it contains -d',
    ['--quiet=false']                    => 'pulls the image',
    ['--name=']                          => 'names and removes',
    ['--network="host"']                 => 'the quotes would be part',
    ['-v', "'/opt/data:/data'"]          => 'the quotes would be part',
    ['--uts', 'container:friend']        => 'only knows --uts host',
    ['--init', 'nginx']                  => 'an element of its own',
    ['--']                               => 'an element of its own',
    ['-']                                => 'an element of its own',
    ['--init', '--network']              => 'its value is missing',
    ['-p']                               => 'its value is missing',
    ['--network', 'container:app']       => 'cannot depend on itself',
  }.each do |words, reason|
    context "with #{words.join(' ')}" do
      let(:run_args) { words }

      it { is_expected.to compile.and_raise_error(%r{run_args of the container app cannot have .*#{Regexp.escape(reason)}}) }
    end
  end

  {
    # Words that look like refused options, but are the values of others.
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
        expect(unless_ - command).to eq(WHERE_INSTALLED - [PULLER] + ['current'])
      end
    end
  end

  context 'with references to other resources of the catalog' do
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
    context "with the name '#{name}'" do
      let(:run_args) { [] }
      let(:params) { super().merge('container' => name) }

      it { is_expected.to compile.and_raise_error(%r{container}) }
    end
  end
end
