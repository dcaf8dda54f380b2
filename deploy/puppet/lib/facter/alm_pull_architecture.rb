# The architecture of the userland, as dpkg names it: amd64, arm64, armhf, …
# The kernel's architecture would be wrong: a 32-bit Raspberry Pi OS may have a 64-bit kernel.
Facter.add(:alm_pull_architecture) do
  confine kernel: 'Linux'
  setcode do
    Facter::Core::Execution.execute('dpkg --print-architecture', on_fail: nil) if Facter::Core::Execution.which('dpkg')
  end
end
