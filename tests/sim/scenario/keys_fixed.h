#pragma once
/*
 * keys_fixed.h - certificates for the simulated world, beside that of sim_certificate.h, which is
 * their authority.  All have its key, and their validity has passed in 2001 or never does, so that
 * no clock matters.  Each names no authority's key: only the signature tells a false one.
 */

/* Of joe. */
static const char keys_joe[] = "-----BEGIN CERTIFICATE-----\n"
                               "MIIBRDCB7KADAgECAhR2PWDlfG80dUYfOwLfm+/X0gx7rzAKBggqhkjOPQQDAjAU\n"
                               "MRIwEAYDVQQDDAlzaW11bGF0ZWQwIBcNMDAwMTAxMDAwMDAwWhgPOTk5OTEyMzEy\n"
                               "MzU5NTlaMA4xDDAKBgNVBAMMA2pvZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA\n"
                               "BJjHq1E2FstLdhq7CmlfvYblKqvQaA8IjylpLTOxRFKL9DAlyodW/yWv1uAvHzFk\n"
                               "uTkN5dUI5MySTIimYT6GaDmjIDAeMAwGA1UdEwEB/wQCMAAwDgYDVR0RBAcwBYID\n"
                               "am9lMAoGCCqGSM49BAMCA0cAMEQCIBoyVWSUOZCDnv/4WaMyC+IQKKK91xCw323Z\n"
                               "NVsvuUV6AiBxSVU20Tag0/ODp3Ql+leVtNIs0PXbBhFwaSbCo3/rJQ==\n"
                               "-----END CERTIFICATE-----\n";

/* Of joey, whose name begins like joe's. */
static const char keys_joey[] = "-----BEGIN CERTIFICATE-----\n"
                                "MIIBSDCB7qADAgECAhQMdVQrFwHFwTCMAbeDN+9EzJuo5TAKBggqhkjOPQQDAjAU\n"
                                "MRIwEAYDVQQDDAlzaW11bGF0ZWQwIBcNMDAwMTAxMDAwMDAwWhgPOTk5OTEyMzEy\n"
                                "MzU5NTlaMA8xDTALBgNVBAMMBGpvZXkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC\n"
                                "AASYx6tRNhbLS3YauwppX72G5Sqr0GgPCI8paS0zsURSi/QwJcqHVv8lr9bgLx8x\n"
                                "ZLk5DeXVCOTMkkyIpmE+hmg5oyEwHzAMBgNVHRMBAf8EAjAAMA8GA1UdEQQIMAaC\n"
                                "BGpvZXkwCgYIKoZIzj0EAwIDSQAwRgIhAPYvhbxY/5yiMm65KgzCxqEpNrUTVKCS\n"
                                "87o18II5AaUTAiEA75Ix2pkcMpESOg5R353/kdu89v93ewrJ4JyDdhkuEo0=\n"
                                "-----END CERTIFICATE-----\n";

/* Joe's name, signed by an authority of the same name and another key. */
static const char keys_foreign[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBRTCB7KADAgECAhRYkv69+2GyTr+fdM7hWyT9o4WK2TAKBggqhkjOPQQDAjAU\n"
    "MRIwEAYDVQQDDAlzaW11bGF0ZWQwIBcNMDAwMTAxMDAwMDAwWhgPOTk5OTEyMzEy\n"
    "MzU5NTlaMA4xDDAKBgNVBAMMA2pvZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA\n"
    "BJjHq1E2FstLdhq7CmlfvYblKqvQaA8IjylpLTOxRFKL9DAlyodW/yWv1uAvHzFk\n"
    "uTkN5dUI5MySTIimYT6GaDmjIDAeMAwGA1UdEwEB/wQCMAAwDgYDVR0RBAcwBYID\n"
    "am9lMAoGCCqGSM49BAMCA0gAMEUCIEf6GRIs3uDjhxUqbyG51kNqYcmXfilnW1Lf\n"
    "Y6FfRp1gAiEAy/h1p48ae+OA4SbYdlz3tp7+Mfy/Y6FiirYJzn82THk=\n"
    "-----END CERTIFICATE-----\n";

/* Of joe, until 2001. */
static const char keys_expired[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBQzCB6qADAgECAhRSsEkskVjugXf+19bwndbhonJ6vjAKBggqhkjOPQQDAjAU\n"
    "MRIwEAYDVQQDDAlzaW11bGF0ZWQwHhcNMDAwMTAxMDAwMDAwWhcNMDEwMTAxMDAw\n"
    "MDAwWjAOMQwwCgYDVQQDDANqb2UwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASY\n"
    "x6tRNhbLS3YauwppX72G5Sqr0GgPCI8paS0zsURSi/QwJcqHVv8lr9bgLx8xZLk5\n"
    "DeXVCOTMkkyIpmE+hmg5oyAwHjAMBgNVHRMBAf8EAjAAMA4GA1UdEQQHMAWCA2pv\n"
    "ZTAKBggqhkjOPQQDAgNIADBFAiEAvzWcW8SMO7TEImhP+TvDdEf9rLrqBzFq3Esz\n"
    "KB8qlaYCIHNNTIGwWo9zn0TaPNABlR8ewmulMiSgjDzCfyW9oB7q\n"
    "-----END CERTIFICATE-----\n";

/* The server's names, signed by that other authority. */
static const char keys_impostor[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBZTCCAQqgAwIBAgIUdoqdTDAmR6cTWI+1N9QWZD7ASOQwCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJc2ltdWxhdGVkMCAXDTAwMDEwMTAwMDAwMFoYDzk5OTkxMjMx\n"
    "MjM1OTU5WjAUMRIwEAYDVQQDDAlzaW11bGF0ZWQwWTATBgcqhkjOPQIBBggqhkjO\n"
    "PQMBBwNCAASYx6tRNhbLS3YauwppX72G5Sqr0GgPCI8paS0zsURSi/QwJcqHVv8l\n"
    "r9bgLx8xZLk5DeXVCOTMkkyIpmE+hmg5ozgwNjAMBgNVHRMBAf8EAjAAMCYGA1Ud\n"
    "EQQfMB2CCmRiLmV4YW1wbGWCCWxvY2FsaG9zdIcEfwAAATAKBggqhkjOPQQDAgNJ\n"
    "ADBGAiEAxIe6MVFemfi3odXKDfWO64Kbppb3Syfzku5BM9qmO2ECIQDcH1iJxj5H\n"
    "JAgXTLzXj5tUn1LYH9hsSMPiVNtXzbRimA==\n"
    "-----END CERTIFICATE-----\n";

/* Of another server. */
static const char keys_elsewhere[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBWzCCAQKgAwIBAgIUXgxcrhs0+ToVGZgnsssdJN4cxxEwCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJc2ltdWxhdGVkMCAXDTAwMDEwMTAwMDAwMFoYDzk5OTkxMjMx\n"
    "MjM1OTU5WjAUMRIwEAYDVQQDDAllbHNld2hlcmUwWTATBgcqhkjOPQIBBggqhkjO\n"
    "PQMBBwNCAASYx6tRNhbLS3YauwppX72G5Sqr0GgPCI8paS0zsURSi/QwJcqHVv8l\n"
    "r9bgLx8xZLk5DeXVCOTMkkyIpmE+hmg5ozAwLjAMBgNVHRMBAf8EAjAAMB4GA1Ud\n"
    "EQQXMBWCDW90aGVyLmV4YW1wbGWHBMAAAgEwCgYIKoZIzj0EAwIDRwAwRAIgY+le\n"
    "tA99kUNLiSZd6Wsrz+reDtXwOJnqgM0jE3meE7ACIA5xC7KL0SP21Cx1ubylIhlK\n"
    "L7SuVuDacjIwSzYusyP0\n"
    "-----END CERTIFICATE-----\n";

/* The server's, until 2001. */
static const char keys_outdated[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBYTCCAQegAwIBAgITHZ6SmMnmFy/vYWHgmJre8uKOOTAKBggqhkjOPQQDAjAU\n"
    "MRIwEAYDVQQDDAlzaW11bGF0ZWQwHhcNMDAwMTAxMDAwMDAwWhcNMDEwMTAxMDAw\n"
    "MDAwWjAUMRIwEAYDVQQDDAlzaW11bGF0ZWQwWTATBgcqhkjOPQIBBggqhkjOPQMB\n"
    "BwNCAASYx6tRNhbLS3YauwppX72G5Sqr0GgPCI8paS0zsURSi/QwJcqHVv8lr9bg\n"
    "Lx8xZLk5DeXVCOTMkkyIpmE+hmg5ozgwNjAMBgNVHRMBAf8EAjAAMCYGA1UdEQQf\n"
    "MB2CCmRiLmV4YW1wbGWCCWxvY2FsaG9zdIcEfwAAATAKBggqhkjOPQQDAgNIADBF\n"
    "AiAp74mMXQOfKyZER9+OwRH/PiUbGwsbR93Yl9GRKegZ4gIhAMVnluz7A+0/pus0\n"
    "e5pUw71iY7WlJXSla32AZy4ylJti\n"
    "-----END CERTIFICATE-----\n";
