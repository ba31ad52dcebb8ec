"""The pages on which somebody logs in for a program, and lets it in."""

from datetime import UTC
from typing import Final

from starlette.responses import HTMLResponse

from api import pages
from api.routing import PREFIX
from cortex.db.devices import DeviceLogin
from cortex.domain.device import form_token
from cortex.schemas.passkeys import PasskeyOptions
from cortex.schemas.sso import SsoProviderView

DEVICE_PAGE: Final = f"{PREFIX}/auth/device"

# The device is asked when the button is pressed; what it has signed goes with the form.
_ASK_DEVICE: Final = """
const form = document.forms[0];
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const options = JSON.parse(form.elements.options.value).publicKey;
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  try {
    const credential = await navigator.credentials.get({publicKey});
    form.elements.credential.value = JSON.stringify(credential);
    form.submit();
  } catch (error) {
    form.querySelector('button').textContent = 'Try again: ' + error.name;
  }
});
"""


def code_page() -> HTMLResponse:
    """Asks for the code."""
    fields = [pages.field("user_code", "The code that the program shows")]
    return pages.page(
        "Log in a program", pages.form(DEVICE_PAGE, {}, fields, [("", "Next")], method="get")
    )


def login_page(
    login: DeviceLogin, services: tuple[SsoProviderView, ...], browser_secret: str
) -> HTMLResponse:
    """Asks who it is: by one of these services, or by password."""
    fields = [
        pages.field("name", "Name", fill="username"),
        pages.field("password", "Password", kind="password", fill="current-password"),
        pages.field("code", "Code of your second factor, if you have one", fill="one-time-code"),
    ]
    hidden = {"user_code": login.code, "form": form_token(browser_secret)}
    return pages.page(
        "Log in a program",
        _about(login),
        *(
            pages.link(
                f"{DEVICE_PAGE}/sso/{service.name}?user_code={login.code}",
                f"Log in by {service.title}",
            )
            for service in services
        ),
        pages.form(f"{DEVICE_PAGE}/login", hidden, fields, [("", "Log in by password")]),
    )


def passkey_page(
    login: DeviceLogin, name: str, options: PasskeyOptions, browser_secret: str
) -> HTMLResponse:
    """Asks for a passkey, of somebody whose password was right."""
    hidden = {
        "user_code": login.code,
        "form": form_token(browser_secret),
        "name": name,
        "options": options.model_dump_json(),
        "credential": "",
    }
    return pages.page(
        "Use your passkey",
        _about(login),
        pages.form(f"{DEVICE_PAGE}/passkey", hidden, [], [("", "Use a passkey")]),
        pages.paragraph("Or go back, and type a code of your app or a recovery code."),
        script=_ASK_DEVICE,
    )


def confirm_page(login: DeviceLogin, browser_secret: str) -> HTMLResponse:
    """Asks whether the program may do all that its user may."""
    hidden = {"user_code": login.code, "form": form_token(browser_secret)}
    return pages.page(
        "Let this program in?",
        _about(login),
        pages.paragraph(
            f"You are `{login.user}`. Whoever has that program could then do all that you may. "
            "Approve only if you have just begun this yourself, and your own terminal shows this "
            "very code. If somebody sent you the code or the link, deny it.",
            warning=True,
        ),
        pages.form(
            f"{DEVICE_PAGE}/confirm", hidden, [], [("approve", "Approve"), ("deny", "Deny")]
        ),
    )


def done_page(*, approved: bool) -> HTMLResponse:
    """Says what became of it."""
    if approved:
        return pages.page("Logged in", pages.paragraph("Go back to the program; close this page."))
    return pages.page("Denied", pages.paragraph("The program was not let in; close this page."))


def _about(login: DeviceLogin) -> str:
    client = login.client or "a program that does not say what it is"
    began = login.created_at.astimezone(UTC).strftime("%H:%M:%S")
    return f"<p><code>{pages.escaped(login.code)}</code></p>" + pages.paragraph(
        f"Asked for by {client}, from {login.source}, at {began} UTC."
    )
