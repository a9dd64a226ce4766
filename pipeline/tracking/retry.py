"""Errors of a store: which ones may pass by themselves."""

# MLflow's codes for requests that will never succeed: what was sent is wrong, or not allowed. BAD_REQUEST is not among
# them: MLflow says so also where two processes write the same tag at once, and where a connection broke.
REFUSALS = frozenset(
    (
        *("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE"),
        *("NOT_IMPLEMENTED", "PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "FEATURE_DISABLED"),
    )
)
# Mistakes in a program, which do not go away.
MISTAKES = (TypeError, ValueError, LookupError, AttributeError, NameError, ImportError, AssertionError, ArithmeticError)


def is_transient(error: Exception) -> bool:
    """Returns whether the same call may succeed later."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.error_code not in REFUSALS
    if isinstance(error, OSError):  # first: some of requests' errors are ValueErrors too
        return not isinstance(error, PermissionError)
    return not isinstance(error, MISTAKES)  # clients of artifact stores have errors of their own
