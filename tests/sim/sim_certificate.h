#pragma once
/*
 * sim_certificate.h - a certificate and its key for the simulated world: always the same, and good
 * for ever, so that histories with TLS are too.  It is its own authority, for db.example, localhost
 * and 127.0.0.1.
 */
#include "machine/sim/world.h"

#define SIM_CERTIFICATE "/etc/trunkline/server.crt"
#define SIM_KEY         "/etc/trunkline/server.key"

static const char sim_certificate[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBhjCCASygAwIBAgIUaUqVXXP+XuVGlIwp7+VVbcZldyowCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJc2ltdWxhdGVkMCAXDTAwMDEwMTAwMDAwMFoYDzk5OTkxMjMx\n"
    "MjM1OTU5WjAUMRIwEAYDVQQDDAlzaW11bGF0ZWQwWTATBgcqhkjOPQIBBggqhkjO\n"
    "PQMBBwNCAASYx6tRNhbLS3YauwppX72G5Sqr0GgPCI8paS0zsURSi/QwJcqHVv8l\n"
    "r9bgLx8xZLk5DeXVCOTMkkyIpmE+hmg5o1owWDAPBgNVHRMBAf8EBTADAQH/MCYG\n"
    "A1UdEQQfMB2CCmRiLmV4YW1wbGWCCWxvY2FsaG9zdIcEfwAAATAdBgNVHQ4EFgQU\n"
    "7HdewEGJWChE8L46A6LdQdx4Dr8wCgYIKoZIzj0EAwIDSAAwRQIgcPVXK4utkPHP\n"
    "YkBpCbc6gRhoZUdauiKkQKsLsQtTUrgCIQDP8RyeYrvkxNJL+d+t1Ji7su+9AXzZ\n"
    "Lg9AL/WfLoazvA==\n"
    "-----END CERTIFICATE-----\n";

static const char sim_key[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgY+k3OIsXYrCkenzw\n"
                              "I/oziVSlpj1rACfYMEwmY4XpzXKhRANCAASYx6tRNhbLS3YauwppX72G5Sqr0GgP\n"
                              "CI8paS0zsURSi/QwJcqHVv8lr9bgLx8xZLk5DeXVCOTMkkyIpmE+hmg5\n"
                              "-----END PRIVATE KEY-----\n";

static inline void sim_put_certificate(void)
{
    sim_file_put(SIM_CERTIFICATE, sim_certificate, sizeof(sim_certificate) - 1, 0644);
    sim_file_put(SIM_KEY, sim_key, sizeof(sim_key) - 1, 0600);
}
