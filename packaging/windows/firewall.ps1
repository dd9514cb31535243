# Windows: blocks every outbound packet of one executable, in every profile. `kwyre isolate` runs it with powershell.exe
# -File, which passes arguments as values: none of them is ever parsed as a command.
# Never run by its authors: see docs/THREAT-MODEL.md, C8.
param(
  [Parameter(Mandatory = $true)][ValidateSet('install', 'status', 'remove')][string]$Action,
  [Parameter(Mandatory = $true)][string]$Program
)
$ErrorActionPreference = 'Stop'
$name = 'kwyre-isolate-outbound'
$mine = 'Kwyre: this program sends nothing'
$rule = Get-NetFirewallRule -Name $name -ErrorAction SilentlyContinue
if ($null -ne $rule -and $rule.Description -ne $mine) { [Console]::Error.WriteLine('a rule of that name was not made by Kwyre'); exit 12 }

switch ($Action) {
  'install' {
    if (-not (Test-Path -LiteralPath $Program -PathType Leaf)) { [Console]::Error.WriteLine('there is no such program'); exit 12 }
    # The new rule first, so that the program is never without one.
    $next = New-NetFirewallRule -Name "$name-next" -DisplayName 'Kwyre (outbound)' -Description $mine -Direction Outbound -Action Block -Program $Program -Profile Any -Enabled True
    if ($null -ne $rule) { Remove-NetFirewallRule -Name $name }
    $next | Rename-NetFirewallRule -NewName $name
  }
  'status' {
    if ($null -eq $rule) { exit 3 }
    $filter = $rule | Get-NetFirewallApplicationFilter
    $off = @(Get-NetFirewallProfile -PolicyStore ActiveStore | Where-Object { $_.Enabled -ne 'True' })
    $good = $rule.Enabled -eq 'True' -and $rule.Action -eq 'Block' -and $rule.Direction -eq 'Outbound' -and $filter.Program -eq $Program -and $off.Count -eq 0
    if (-not $good) { exit 4 }
  }
  'remove' { if ($null -ne $rule) { Remove-NetFirewallRule -Name $name } }
}
exit 0
