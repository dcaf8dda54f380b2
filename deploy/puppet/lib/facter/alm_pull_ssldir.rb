# Where Puppet keeps its certificates on this node: Debian's and Puppet's own packages use different directories.
Facter.add(:alm_pull_ssldir) do
  setcode { Puppet[:ssldir] if defined?(Puppet) && Puppet.respond_to?(:[]) }
end
