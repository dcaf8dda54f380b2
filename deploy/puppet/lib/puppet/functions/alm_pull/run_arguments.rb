# @summary Reads the options of `docker run`: which of them `docker create` gets, and what they refer to
#
# An option that cannot work here fails the catalog, however it is written: otherwise each run would fail on the node.
#
# @api private
Puppet::Functions.create_function(:'alm_pull::run_arguments') do
  # @param container
  #   The container's name.
  # @param run_args
  #   Its options, one element for each word.
  # @return [Hash]
  #   `arguments` for `docker create`; `refers`, what the options refer to, as `KIND:WHAT`; and of these by name all `containers`, those
  #   whose `namespaces` are used, and the `files`.
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
      # Most people write it, since they copy their line of `docker run`.
      next if word == '-d'

      refuse(container, word, 'it is not an option; each word is an element of its own') unless word.start_with?('-') && word !~ %r{\A--?\z}
      name, value, words_of_value = option(container, word, words)
      arguments.push(word, *words_of_value)
      refuse(container, word, reasons[name]) if reasons.key?(name)
      refuse(container, word, 'no shell reads these words, and its quotes would be part of the value') if quoted?(name, value)
      refuse(container, word, 'docker only has --uts host') if name == 'uts' && !['host', ''].include?(value)
      refuse(container, word, 'labels that begin with alm_pull. are this module\'s') if name == 'label' && value.start_with?('alm_pull.')
      refers.concat(referred(name, value))
    end
    containers = refers.map { |item| item[%r{\A(?:network|pid|ipc|volumes-from|link):(.*)}m, 1] }.compact.uniq
    refuse(container, container, 'a container cannot depend on itself') if containers.include?(container)
    namespaces = refers.map { |item| item[%r{\A(?:network|pid|ipc):(.*)}m, 1] }.compact.uniq
    files = refers.map { |item| item[%r{\A(?:env-)?file:(.*)}m, 1] }.compact
    { 'arguments' => arguments, 'refers' => refers.uniq, 'containers' => containers, 'namespaces' => namespaces, 'files' => files.uniq }
  end

  # Options without a value, as of docker 29. All others have one, beside them or after `=`.
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
      'cidfile'     => 'docker writes it only once, and fails if the file exists',
      'detach'      => 'it is always detached: leave it out',
      'detach-keys' => 'it is always detached',
      'help'        => 'docker would show its help and create nothing',
      'name'        => 'it is named and removed by this module',
      'pull'        => 'the image is pulled by alm_pull::image, never when a container is created',
      'quiet'       => 'this does not pull, so there is nothing to be quiet about',
      'rm'          => 'it is named and removed by this module',
      'sig-proxy'   => 'it is always detached',
    }
  end

  # The option's long name, its value, and the words that are the value.
  def option(container, word, words)
    if word.start_with?('--')
      name, value = word[2..-1].split('=', 2)
      refuse(container, word, 'each word is an element of its own') if name =~ %r{\s}
      return [name, value || '', []] if value || switches.include?(name)
    else
      letters = word[1..-1]
      index = letters.chars.index { |letter| !switches.include?(long_names[letter]) }
      cluster(container, word, letters[0...(index || letters.size)], letters.size)
      return [long_names[letters[-1]], '', []] unless index

      name = long_names[letters[index]] || letters[index]
      value = letters[(index + 1)..-1].delete_prefix('=')
      refuse(container, word, 'each word is an element of its own') if value.match?(%r{\A\s})
      return [name, value, []] unless value.empty?
    end
    refuse(container, word, 'its value is missing') if words.empty?
    value = words.shift
    [name, value, [value]]
  end

  # Only for options whose values cannot begin and end with quotes; the value of `--health-cmd`, for example, can.
  def quoted?(name, value)
    unquoted = ['env-file', 'hostname', 'ipc', 'label-file', 'link', 'net', 'network', 'pid', 'publish', 'restart', 'user', 'volume', 'volumes-from']
    unquoted.include?(name) && value.match?(%r{\A(["']).*\1\z}m)
  end

  # `docker run` accepts several one-letter options in one word.
  def cluster(container, word, before, size)
    refused = before.chars.find { |letter| reasons.key?(long_names[letter]) }
    refuse(container, word, "-#{refused} in it: #{reasons[long_names[refused]]}") if refused
    apart = before.chars.find { |letter| ['i', 't'].include?(letter) }
    refuse(container, word, "write -#{apart} as a word of its own") if apart && size > before.size
  end

  def referred(name, value)
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
    # `name=X,alias=Y` as well as the name alone.
    value = value[%r{(?:\A|,)name=([^,]*)}, 1] || value if value.include?('=')
    case value
    when %r{\Acontainer:(.+)}m then ["network:#{Regexp.last_match(1)}"]
    when 'none', 'host', 'bridge', 'default', 'nat', '' then []
    else ["net:#{value}"]
    end
  end

  def refuse(container, word, reason)
    raise Puppet::ParseError, "alm_pull: #{word} is not for the container #{container}: #{reason}"
  end
end
