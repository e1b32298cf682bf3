"""A private LDAP server: one process, one folder, gone with the test."""
import os
import shutil
import socket
import subprocess
from pathlib import Path

from .patience import eventually
from .ports import free_port
from .processes import Program

SLAPD = shutil.which("slapd", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")

CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {folder}/pid
argsfile {folder}/args
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {cert}
TLSCertificateKeyFile {key}
database mdb
maxsize 10485760
suffix "dc=example,dc=org"
rootdn "cn=root,dc=example,dc=org"
rootpw root
directory {folder}/data
access to attrs=userPassword by anonymous auth by * none
access to * by dn="cn=finder,dc=example,dc=org" read by anonymous none
"""

ENTRIES = """
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: cn=finder,dc=example,dc=org
objectClass: inetOrgPerson
cn: finder
sn: finder
userPassword: finder

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: uid=app,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: app
cn: app
sn: app
mail: app@example.org
userPassword: of the directory

dn: uid=reports,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: reports
cn: twin
sn: reports
userPassword: reports

dn: uid=mallory,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: mallory
cn: twin
sn: mallory
userPassword: mallory
"""


class Directory:
    def __init__(self, folder, certificate):
        self.folder = Path(folder)
        (self.folder / "data").mkdir(parents=True)
        config = self.folder / "slapd.conf"
        config.write_text(CONFIG.format(folder=self.folder, cert=certificate.cert,
                                        key=certificate.key))
        entries = self.folder / "entries.ldif"
        entries.write_text(ENTRIES.lstrip())
        slapadd = Path(SLAPD).with_name("slapadd")
        subprocess.run([slapadd, "-f", config, "-l", entries], check=True, capture_output=True)
        self.port, self.tls_port = free_port(), free_port()
        self.program = Program(
            [SLAPD, "-f", config, "-d", "none", "-h",
             f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"],
            self.folder / "log")
        eventually(self.answers)

    def answers(self):
        self.program.must_run()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        if self.program.running():
            self.program.end()
