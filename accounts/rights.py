"""Comparison of accounts by their permissions.

Operators can act only on accounts without permissions that they lack, and only superusers change permissions;
otherwise permission to manage accounts would be permission to become a superuser.
"""

from typing import cast

from django.contrib.auth.models import Permission
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from accounts.models import User


def outranks(person: User, operator: User) -> bool:
    """Whether `person` has permissions that `operator` lacks. Inactive accounts count, as they can be reactivated."""
    if operator.is_superuser:
        return False
    return person.is_superuser or _permissions(person).exclude(pk__in=_permissions(operator).values("pk")).exists()


def operator_of(request: HttpRequest) -> User:
    """Return the operator who made a request to the admin, which no anonymous visitor can reach."""
    return cast(User, request.user)


def is_last_superuser(user: User) -> bool:
    """Whether no other active account is a superuser. Locks the superusers until the transaction ends.

    The lock serializes two superusers who delete their accounts at once. It is the weak kind (NO KEY), which lets other
    transactions insert rows that refer to them: those transactions hold the record that this one locks next.
    """
    if not user.is_superuser:
        return False
    superusers = User.objects.filter(is_superuser=True, is_active=True).select_for_update(no_key=True)
    return set(superusers.order_by("pk").values_list("pk", flat=True)) <= {user.pk}


def _permissions(user: User) -> QuerySet[Permission]:
    return Permission.objects.filter(Q(user=user) | Q(group__user=user))
