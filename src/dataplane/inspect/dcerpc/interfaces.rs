//! Interfaces that people search for, by their UUIDs, and the calls that matter in attacks.
//!
//! UUIDs and operation numbers are those of Microsoft's protocol documents (MS-SCMR, MS-TSCH, MS-SAMR, MS-LSAD, MS-SRVS,
//! MS-WKST, MS-RRP, MS-DRSR, MS-RPCE, MS-EFSR, MS-RPRN, MS-PAR, MS-NRPC, MS-DCOM, MS-WMI, MS-EVEN, MS-DFSNM, MS-FSRVP).

/// A known interface.
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    /// UUID as a number: its text form without hyphens.
    pub uuid: u128,
    /// Usual short name.
    pub name: &'static str,
    /// Numbers and names of the calls worth a name.
    pub calls: &'static [(u16, &'static str)],
}

const fn interface(uuid: u128, name: &'static str, calls: &'static [(u16, &'static str)]) -> Interface {
    Interface { uuid, name, calls }
}

/// All that are known; the index in this table is what a flow remembers.
pub const INTERFACES: &[Interface] = &[
    interface(
        0x367abb81_9844_35f1_ad32_98f038001003,
        "svcctl",
        &[
            (0, "CloseServiceHandle"),
            (1, "ControlService"),
            (2, "DeleteService"),
            (6, "QueryServiceStatus"),
            (11, "ChangeServiceConfigW"),
            (12, "CreateServiceW"),
            (14, "EnumServicesStatusW"),
            (15, "OpenSCManagerW"),
            (16, "OpenServiceW"),
            (17, "QueryServiceConfigW"),
            (19, "StartServiceW"),
            (23, "ChangeServiceConfigA"),
            (24, "CreateServiceA"),
            (27, "OpenSCManagerA"),
            (28, "OpenServiceA"),
            (31, "StartServiceA"),
            (42, "EnumServicesStatusExW"),
            (44, "CreateServiceWOW64A"),
            (45, "CreateServiceWOW64W"),
        ],
    ),
    interface(
        0x1ff70682_0a51_30e8_076d_740be8cee98b,
        "atsvc",
        &[(0, "NetrJobAdd"), (1, "NetrJobDel"), (2, "NetrJobEnum"), (3, "NetrJobGetInfo")],
    ),
    interface(
        0x86d35949_83c9_4044_b424_db363231fd0c,
        "ITaskSchedulerService",
        &[
            (0, "SchRpcHighestVersion"),
            (1, "SchRpcRegisterTask"),
            (2, "SchRpcRetrieveTask"),
            (7, "SchRpcEnumTasks"),
            (12, "SchRpcRun"),
            (13, "SchRpcDelete"),
        ],
    ),
    interface(0x378e52b0_c0a9_11cf_822d_00aa0051e40f, "sasec", &[(0, "SASetAccountInformation")]),
    interface(
        0x12345778_1234_abcd_ef00_0123456789ac,
        "samr",
        &[
            (0, "SamrConnect"),
            (1, "SamrCloseHandle"),
            (5, "SamrLookupDomainInSamServer"),
            (6, "SamrEnumerateDomainsInSamServer"),
            (7, "SamrOpenDomain"),
            (11, "SamrEnumerateGroupsInDomain"),
            (12, "SamrCreateUserInDomain"),
            (13, "SamrEnumerateUsersInDomain"),
            (15, "SamrEnumerateAliasesInDomain"),
            (16, "SamrGetAliasMembership"),
            (17, "SamrLookupNamesInDomain"),
            (18, "SamrLookupIdsInDomain"),
            (25, "SamrGetMembersInGroup"),
            (31, "SamrAddMemberToAlias"),
            (33, "SamrGetMembersInAlias"),
            (34, "SamrOpenUser"),
            (35, "SamrDeleteUser"),
            (36, "SamrQueryInformationUser"),
            (37, "SamrSetInformationUser"),
            (38, "SamrChangePasswordUser"),
            (39, "SamrGetGroupsForUser"),
            (40, "SamrQueryDisplayInformation"),
            (47, "SamrQueryInformationUser2"),
            (48, "SamrQueryDisplayInformation2"),
            (50, "SamrCreateUser2InDomain"),
            (51, "SamrQueryDisplayInformation3"),
            (55, "SamrUnicodeChangePasswordUser2"),
            (57, "SamrConnect2"),
            (58, "SamrSetInformationUser2"),
            (62, "SamrConnect4"),
            (64, "SamrConnect5"),
        ],
    ),
    interface(
        0x12345778_1234_abcd_ef00_0123456789ab,
        "lsarpc",
        &[
            (0, "LsarClose"),
            (2, "LsarEnumeratePrivileges"),
            (6, "LsarOpenPolicy"),
            (7, "LsarQueryInformationPolicy"),
            (11, "LsarEnumerateAccounts"),
            (13, "LsarEnumerateTrustedDomains"),
            (14, "LsarLookupNames"),
            (15, "LsarLookupSids"),
            (28, "LsarOpenSecret"),
            (30, "LsarQuerySecret"),
            (37, "LsarAddAccountRights"),
            (42, "LsarStorePrivateData"),
            (43, "LsarRetrievePrivateData"),
            (44, "LsarOpenPolicy2"),
            (46, "LsarQueryInformationPolicy2"),
            (57, "LsarLookupSids2"),
            (58, "LsarLookupNames2"),
            (76, "LsarLookupSids3"),
        ],
    ),
    interface(0x3919286a_b10c_11d0_9ba8_00c04fd92ef5, "dssetup", &[(0, "DsRolerGetPrimaryDomainInformation")]),
    interface(
        0x4b324fc8_1670_01d3_1278_5a47bf6ee188,
        "srvsvc",
        &[
            (8, "NetrConnectionEnum"),
            (9, "NetrFileEnum"),
            (12, "NetrSessionEnum"),
            (14, "NetrShareAdd"),
            (15, "NetrShareEnum"),
            (16, "NetrShareGetInfo"),
            (18, "NetrShareDel"),
            (21, "NetrServerGetInfo"),
            (23, "NetrServerDiskEnum"),
            (28, "NetrRemoteTOD"),
            (31, "NetprPathCanonicalize"),
            (32, "NetprPathCompare"),
        ],
    ),
    interface(
        0x6bffd098_a112_3610_9833_46c3f87e345a,
        "wkssvc",
        &[(0, "NetrWkstaGetInfo"), (2, "NetrWkstaUserEnum"), (5, "NetrWkstaTransportEnum"), (22, "NetrJoinDomain2")],
    ),
    interface(
        0x338cd001_2244_31f1_aaaa_900038001003,
        "winreg",
        &[
            (0, "OpenClassesRoot"),
            (1, "OpenCurrentUser"),
            (2, "OpenLocalMachine"),
            (4, "OpenUsers"),
            (6, "BaseRegCreateKey"),
            (7, "BaseRegDeleteKey"),
            (8, "BaseRegDeleteValue"),
            (9, "BaseRegEnumKey"),
            (10, "BaseRegEnumValue"),
            (15, "BaseRegOpenKey"),
            (16, "BaseRegQueryInfoKey"),
            (17, "BaseRegQueryValue"),
            (20, "BaseRegSaveKey"),
            (22, "BaseRegSetValue"),
            (31, "BaseRegSaveKeyEx"),
        ],
    ),
    interface(
        0xe3514235_4b06_11d1_ab04_00c04fc2dcd2,
        "drsuapi",
        &[
            (0, "DRSBind"),
            (1, "DRSUnbind"),
            (2, "DRSReplicaSync"),
            (3, "DRSGetNCChanges"),
            (4, "DRSUpdateRefs"),
            (5, "DRSReplicaAdd"),
            (12, "DRSCrackNames"),
            (13, "DRSWriteSPN"),
            (16, "DRSDomainControllerInfo"),
            (17, "DRSAddEntry"),
        ],
    ),
    interface(
        0xe1af8308_5d1f_11c9_91a4_08002b14a0fa,
        "epmapper",
        &[(2, "ept_lookup"), (3, "ept_map"), (4, "ept_lookup_handle_free")],
    ),
    interface(
        0xc681d488_d850_11d0_8c52_00c04fd90f7e,
        "efsrpc",
        &[
            (0, "EfsRpcOpenFileRaw"),
            (4, "EfsRpcEncryptFileSrv"),
            (5, "EfsRpcDecryptFileSrv"),
            (6, "EfsRpcQueryUsersOnFile"),
            (7, "EfsRpcQueryRecoveryAgents"),
            (8, "EfsRpcRemoveUsersFromFile"),
            (9, "EfsRpcAddUsersToFile"),
            (12, "EfsRpcFileKeyInfo"),
            (13, "EfsRpcDuplicateEncryptionInfoFile"),
            (15, "EfsRpcAddUsersToFileEx"),
        ],
    ),
    interface(
        0xdf1941c5_fe89_4e79_bf10_463657acf44d,
        "efsrpc",
        &[(0, "EfsRpcOpenFileRaw"), (4, "EfsRpcEncryptFileSrv"), (5, "EfsRpcDecryptFileSrv")],
    ),
    interface(
        0x12345678_1234_abcd_ef00_0123456789ab,
        "spoolss",
        &[
            (0, "RpcEnumPrinters"),
            (1, "RpcOpenPrinter"),
            (29, "RpcClosePrinter"),
            (62, "RpcRemoteFindFirstPrinterChangeNotification"),
            (65, "RpcRemoteFindFirstPrinterChangeNotificationEx"),
            (69, "RpcOpenPrinterEx"),
            (70, "RpcAddPrinterEx"),
            (89, "RpcAddPrinterDriverEx"),
        ],
    ),
    interface(
        0x76f03f96_cdfd_44fc_a22c_64950a001209,
        "IRemoteWinspool",
        &[(0, "RpcAsyncOpenPrinter"), (39, "RpcAsyncAddPrinterDriver")],
    ),
    interface(
        0x12345678_1234_abcd_ef00_01234567cffb,
        "netlogon",
        &[
            (2, "NetrLogonSamLogon"),
            (4, "NetrServerReqChallenge"),
            (6, "NetrServerPasswordSet"),
            (15, "NetrServerAuthenticate2"),
            (20, "DsrGetDcName"),
            (26, "NetrServerAuthenticate3"),
            (29, "NetrLogonGetDomainInfo"),
            (30, "NetrServerPasswordSet2"),
            (34, "DsrGetDcNameEx2"),
            (39, "NetrLogonSamLogonEx"),
            (40, "DsrEnumerateDomainTrusts"),
            (45, "NetrLogonSamLogonWithFlags"),
        ],
    ),
    interface(0x4d9f4ab8_7d1c_11cf_861e_0020af6e7c57, "IRemoteActivation", &[(0, "RemoteActivation")]),
    interface(
        0x99fcfec4_5260_101b_bbcb_00aa0021347a,
        "IOXIDResolver",
        &[
            (0, "ResolveOxid"),
            (1, "SimplePing"),
            (2, "ComplexPing"),
            (3, "ServerAlive"),
            (4, "ResolveOxid2"),
            (5, "ServerAlive2"),
        ],
    ),
    interface(
        0x000001a0_0000_0000_c000_000000000046,
        "ISystemActivator",
        &[(3, "RemoteGetClassObject"), (4, "RemoteCreateInstance")],
    ),
    interface(
        0x00000131_0000_0000_c000_000000000046,
        "IRemUnknown",
        &[(3, "RemQueryInterface"), (4, "RemAddRef"), (5, "RemRelease")],
    ),
    interface(0x00000143_0000_0000_c000_000000000046, "IRemUnknown2", &[(5, "RemRelease"), (6, "RemQueryInterface2")]),
    interface(
        0x00020400_0000_0000_c000_000000000046,
        "IDispatch",
        &[(3, "GetTypeInfoCount"), (5, "GetIDsOfNames"), (6, "Invoke")],
    ),
    interface(
        0xf309ad18_d86a_11d0_a075_00c04fb68820,
        "IWbemLevel1Login",
        &[(3, "EstablishPosition"), (6, "NTLMLogin")],
    ),
    interface(
        0x9556dc99_828c_11cf_a37e_00aa003240c7,
        "IWbemServices",
        &[(3, "OpenNamespace"), (6, "GetObject"), (20, "ExecQuery"), (24, "ExecMethod"), (25, "ExecMethodAsync")],
    ),
    interface(0x44aca675_e8fc_11d0_a07c_00c04fb68820, "IWbemCallResult", &[]),
    interface(0x1c1c45ee_4395_11d2_b60b_00104b703efd, "IWbemFetchSmartEnum", &[]),
    interface(0x423ec01e_2e35_11d2_b604_00104b703efd, "IWbemWCOSmartEnum", &[]),
    interface(0x027947e1_d731_11ce_a357_000000000001, "IEnumWbemClassObject", &[]),
    interface(0x00020401_0000_0000_c000_000000000046, "ITypeInfo", &[]),
    interface(0xd4781cd6_e5d3_44df_ad94_930efe48a887, "IWbemLoginClientID", &[(3, "SetClientInfo")]),
    interface(
        0x82273fdc_e32a_18c3_3f78_827929dc23ea,
        "eventlog",
        &[(0, "ElfrClearELFW"), (7, "ElfrOpenELW"), (10, "ElfrReadELW"), (12, "ElfrClearELFA")],
    ),
    interface(0xf6beaff7_1e19_4fbb_9f8f_b89e2018337c, "IEventService", &[(6, "EvtRpcClearLog")]),
    interface(
        0x4fc742e0_4a10_11cf_8273_00aa004ae673,
        "netdfs",
        &[(12, "NetrDfsAddStdRoot"), (13, "NetrDfsRemoveStdRoot"), (21, "NetrDfsEnumEx")],
    ),
    interface(
        0xa8e0653c_2744_4389_a61d_7373df8b2292,
        "FssagentRpc",
        &[(8, "IsPathSupported"), (9, "IsPathShadowCopied")],
    ),
    interface(
        0x894de0c0_0d55_11d3_a322_00c04fa321a1,
        "InitShutdown",
        &[(0, "BaseInitiateShutdown"), (2, "BaseInitiateShutdownEx")],
    ),
    interface(
        0xafa8bd80_7d8a_11c9_bef4_08002b102989,
        "mgmt",
        &[(0, "inq_if_ids"), (1, "inq_stats"), (4, "inq_princ_name")],
    ),
    interface(0x4b112204_0e19_11d3_b42b_0000f81feb9f, "ssdpsrv", &[]),
    interface(0x5a7b91f8_ff00_11d0_a9b2_00c04fb6e6fc, "msgsvc", &[(0, "NetrSendMessage")]),
    interface(0x17fdd703_1827_4e34_79d4_24a55c53bb37, "msgsvc", &[(0, "NetrMessageNameAdd")]),
    interface(0x3dde7c30_165d_11d1_ab8f_00805f14db40, "BackupKey", &[(0, "BackuprKey")]),
    interface(0x50abc2a4_574d_40b3_9d66_ee4fd5fba076, "dnsserver", &[(0, "DnssrvOperation"), (5, "DnssrvOperation2")]),
    interface(0x91ae6020_9e3c_11cf_8d7c_00aa00c091be, "ICertPassage", &[(0, "CertServerRequest")]),
    interface(0x811109bf_a4e1_11d1_ab54_00a0c91e9b45, "wins", &[]),
    interface(0x6bffd098_a112_3610_9833_012892020162, "browser", &[(0, "BrowserrServerEnum")]),
    interface(0xd95afe70_a6d5_4259_822e_2c84da1ddb0d, "WindowsShutdown", &[]),
    interface(0x342cfd40_3c6c_11ce_a893_08002b2e9c6d, "llsrpc", &[(0, "LlsrConnect")]),
    interface(0x8d9f4e40_a03d_11ce_8f69_08003e30051b, "ntsvcs", &[]),
];

/// The interface with this UUID, as it stands on the wire, by its index.
pub fn find(uuid: [u8; 16]) -> Option<u8> {
    let [a, b, c, d, e, f, g, h, rest @ ..] = uuid;
    let [i, j, k, l, m, n, o, p] = rest;
    let number = u128::from_be_bytes([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]);
    INTERFACES.iter().position(|one| one.uuid == number).and_then(|index| u8::try_from(index).ok())
}

/// The first interface from `candidate` on (index, plus one; 0 for none) whose UUID on the wire goes on with `byte` at `place`,
/// of those that begin as `candidate`'s does: a UUID that comes byte by byte is looked up so.
pub fn narrow(candidate: u8, place: usize, byte: u8, is_big_endian: bool) -> u8 {
    let wire =
        |index: usize| INTERFACES.get(index).map(|one| super::in_wire_order(one.uuid.to_be_bytes(), !is_big_endian));
    let Some((first, begun)) = candidate.checked_sub(1).map(usize::from).and_then(|first| Some((first, wire(first)?)))
    else {
        return 0;
    };
    let begins = |uuid: [u8; 16]| uuid.get(..place) == begun.get(..place) && uuid.get(place) == Some(&byte);
    let found = (first..INTERFACES.len()).find(|index| wire(*index).is_some_and(begins));
    found.and_then(|index| u8::try_from(index + 1).ok()).unwrap_or(0)
}

/// The interface behind a pipe of this name, with or without a backslash in front: pipes are named as interfaces are, but for
/// the scheduler's (MS-TSCH section 2.1), whose older interface Windows has not had since version 8.
pub fn of_pipe(name: &[u8]) -> Option<u8> {
    let name = name.strip_prefix(b"\\").unwrap_or(name);
    let name = if name.eq_ignore_ascii_case(b"atsvc") { b"ITaskSchedulerService" } else { name };
    let found = INTERFACES.iter().position(|one| one.name.as_bytes().eq_ignore_ascii_case(name));
    found.and_then(|index| u8::try_from(index).ok())
}

/// The interface at `index`.
pub fn at(index: u8) -> Option<&'static Interface> {
    INTERFACES.get(usize::from(index))
}

/// Name of a call of the interface at `index`.
pub fn call_name(index: u8, number: u16) -> Option<&'static str> {
    at(index)?.calls.iter().find(|(one, _)| *one == number).map(|(_, name)| *name)
}
