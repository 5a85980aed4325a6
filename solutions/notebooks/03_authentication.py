# CELL exercise-03-keys
import hashlib


def client_of(key, clients):
    """Return the client's name or None. `clients` maps SHA-256 hex digests to names; `key` is any text."""
    return clients.get(hashlib.sha256(key.encode("utf-8", "replace")).hexdigest())


# WRONG exercise-03-keys
import hashlib


def client_of(key, clients):
    """Encode as if keys from strangers were always ASCII."""
    return clients.get(hashlib.sha256(key.encode("ascii")).hexdigest())


# CELL exercise-03-verified
def verified(password, stored, hasher, nobody):
    """Is it the password? Verifies once, whether or not there is a user."""
    return hasher.verify(password, stored or nobody) and stored is not None


# WRONG exercise-03-verified
def verified(password, stored, hasher, nobody):
    """Answer at once where there is no user."""
    return stored is not None and hasher.verify(password, stored)


# CELL exercise-03-token
import jwt


def subject(token, secret, issuer, audience):
    """Return whom the token was made for, or None if anything about it is not as it should be."""
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            issuer=issuer,
            audience=audience,
            options={"require": ["sub", "iss", "aud", "iat", "exp"]},
        )
    except jwt.InvalidTokenError:
        return None
    return claims["sub"]


# WRONG exercise-03-token
import jwt


def subject(token, secret, issuer, audience):
    """Check what is there, but demand nothing."""
    try:
        claims = jwt.decode(token, secret, algorithms=["HS256"], issuer=issuer, audience=audience)
    except jwt.InvalidTokenError:
        return None
    return claims.get("sub")


# CELL exercise-03-roles
def allows(role, least):
    """May somebody with this role do what needs `least`? guest < user < admin; unknown roles may nothing."""
    order = ("guest", "user", "admin")
    return role in order and least in order and order.index(role) >= order.index(least)


# WRONG exercise-03-roles
def allows(role, least):
    """Compare names, as the module does."""
    return role == least
