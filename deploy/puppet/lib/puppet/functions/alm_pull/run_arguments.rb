# @summary Reads options of `docker run`: returns those for `docker create`, and what they refer to
#
# Options that cannot work here fail the catalog, in any spelling. Otherwise each run would fail on the node.
#
# @api private
Puppet::Functions.create_function(:'alm_pull::run_arguments') do
  # @param container
  #   The container's name.
  # @param run_args
  #   Its options, one element for each word.
  # @return [Hash]
  #   `arguments` for `docker create`; `refers`: everything that they refer to, as `KIND:NAME`; and of these `containers`,
  #   `namespaces` (the containers whose namespaces are used) and `files`.
  dispatch :read do
    param 'String', :container
    param 'Array[String]', :run_args
    return_type 'Hash[String, Array[String]]'
  end

  def read(container, run_args)
    arguments = []
    refers = []
    words = run_args.dup
    until words.empty?
      word = words.shift
      # Most lines of `docker run` have it, so it is ignored.
      next if word == '-d'

      refuse(container, word, 'it is not an option; write each word as an element of its own') unless word.start_with?('-') && word !~ %r{\A--?\z}
      name, value, words_of_value = option(container, word, words)
      arguments.push(word, *words_of_value)
      refuse(container, word, reasons[name]) if reasons.key?(name)
      refuse(container, word, 'no shell reads it, so the quotes would be part of the value: remove them') if quoted?(name, value)
      refuse(container, word, 'docker only knows --uts host') if name == 'uts' && !['host', ''].include?(value)
      refuse(container, word, 'labels that begin with alm_pull. are reserved for this module') if name == 'label' && value.start_with?('alm_pull.')
      refers.concat(references(name, value))
    end
    containers = refers.map { |item| item[%r{\A(?:network|pid|ipc|volumes-from|link):(.*)}m, 1] }.compact.uniq
    refuse(container, container, 'a container cannot depend on itself') if containers.include?(container)
    namespaces = refers.map { |item| item[%r{\A(?:network|pid|ipc):(.*)}m, 1] }.compact.uniq
    files = refers.map { |item| item[%r{\A(?:env-)?file:(.*)}m, 1] }.compact
    { 'arguments' => arguments, 'refers' => refers.uniq, 'containers' => containers, 'namespaces' => namespaces, 'files' => files.uniq }
  end

  # The options without a value, as of docker 29. All others have one, in the next word or after `=`.
  def switches
    @switches ||= [
      'detach', 'disable-content-trust', 'help', 'init', 'interactive', 'no-healthcheck', 'oom-kill-disable', 'privileged',
      'publish-all', 'quiet', 'read-only', 'rm', 'sig-proxy', 'tty', 'use-api-socket'
    ]
  end

  def long_names
    @long_names ||= {
      'a' => 'attach', 'c' => 'cpu-shares', 'd' => 'detach', 'e' => 'env', 'h' => 'hostname', 'i' => 'interactive',
      'l' => 'label', 'm' => 'memory', 'P' => 'publish-all', 'p' => 'publish', 'q' => 'quiet', 't' => 'tty', 'u' => 'user',
      'v' => 'volume', 'w' => 'workdir'
    }
  end

  def reasons
    @reasons ||= {
      'cidfile'     => 'docker fails if the file exists, so only the first run would work',
      'detach'      => 'containers are always detached: remove it',
      'detach-keys' => 'containers are always detached: remove it',
      'help'        => 'docker would print its help and create nothing',
      'name'        => 'this module names and removes the container: remove it',
      'pull'        => 'alm_pull::image pulls the image: remove it',
      'quiet'       => 'alm_pull::image pulls the image: remove it',
      'rm'          => 'this module names and removes the container: remove it',
      'sig-proxy'   => 'containers are always detached: remove it',
    }
  end

  # Returns the option's long name, its value, and the further words that it takes.
  def option(container, word, words)
    if word.start_with?('--')
      name, value = word[2..-1].split('=', 2)
      refuse(container, word, 'write each word as an element of its own') if name =~ %r{\s}
      return [name, value || '', []] if value || switches.include?(name)
    else
      letters = word[1..-1]
      index = letters.chars.index { |letter| !switches.include?(long_names[letter]) }
      cluster(container, word, letters[0...(index || letters.size)], letters.size)
      return [long_names[letters[-1]], '', []] unless index

      name = long_names[letters[index]] || letters[index]
      value = letters[(index + 1)..-1].delete_prefix('=')
      refuse(container, word, 'write each word as an element of its own') if value.match?(%r{\A\s})
      return [name, value, []] unless value.empty?
    end
    refuse(container, word, 'its value is missing') if words.empty?
    value = words.shift
    [name, value, [value]]
  end

  # Whether a value is in quotes by mistake. Options that are not listed here, such as `--health-cmd`, may have quotes.
  def quoted?(name, value)
    unquoted = ['env-file', 'hostname', 'ipc', 'label-file', 'link', 'net', 'network', 'pid', 'publish', 'restart', 'user', 'volume', 'volumes-from']
    unquoted.include?(name) && value.match?(%r{\A(["']).*\1\z}m)
  end

  # Checks the letters of a word such as `-itp`, which `docker run` accepts.
  def cluster(container, word, before, size)
    refused = before.chars.find { |letter| reasons.key?(long_names[letter]) }
    refuse(container, word, "it contains -#{refused}: #{reasons[long_names[refused]]}") if refused
    separate = before.chars.find { |letter| ['i', 't'].include?(letter) }
    refuse(container, word, "write -#{separate} as an element of its own") if separate && size > before.size
  end

  # What an option refers to, as `KIND:NAME`.
  def references(name, value)
    case name
    when 'network', 'net'
      network(value)
    when 'pid', 'ipc'
      value.start_with?('container:') ? ["#{name}:#{value.sub('container:', '')}"] : []
    when 'volumes-from'
      ["volumes-from:#{value.split(':').first}"]
    when 'link'
      ["link:#{value.split(':').first}"]
    when 'env-file'
      ["env-file:#{value}"]
    when 'label-file'
      ["file:#{value}"]
    when 'security-opt'
      file = value[%r{\Aseccomp[=:](.+)}m, 1]
      file && !['unconfined', 'builtin'].include?(file) ? ["file:#{file}"] : []
    when 'env'
      value.match?(%r{\A[^=\s]+\z}) ? ["env:#{value}"] : []
    else
      []
    end
  end

  def network(value)
    # The name alone, or `name=X,alias=Y`.
    value = value[%r{(?:\A|,)name=([^,]*)}, 1] || value if value.include?('=')
    case value
    when %r{\Acontainer:(.+)}m then ["network:#{Regexp.last_match(1)}"]
    when 'none', 'host', 'bridge', 'default', 'nat', '' then []
    else ["net:#{value}"]
    end
  end

  def refuse(container, word, reason)
    raise Puppet::ParseError, "alm_pull: run_args of the container #{container} cannot have #{word}: #{reason}"
  end
end
