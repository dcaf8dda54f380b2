# Where Puppet keeps its certificates on this node: Debian's packages and Puppet's own have different directories.
Facter.add(:alm_pull_ssldir) do
  setcode { Puppet[:ssldir] if defined?(Puppet) && Puppet.respond_to?(:[]) }
end
