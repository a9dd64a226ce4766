"""What every room may use: small tools that know nothing of networks, studies or runs."""
