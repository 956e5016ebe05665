"""What the name of a host says. The settings import this module, so it imports none of them."""

from ipaddress import ip_address


def is_loopback(host: str | None) -> bool:
    """Whether this host always means this machine, whatever the network."""
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost" or (host or "").endswith(".localhost")
